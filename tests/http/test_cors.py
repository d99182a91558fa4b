"""Which web pages may call, and which may not drive the keyless local stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from chalice.app import Chalice

from chalicelib.core.errors import InvalidInput
from chalicelib.http import cors
from chalicelib.http.routes import Router
from chalicelib.settings import Settings
from tests.support.edge import Reply, app_of, call

PAGE = "https://app.example"
OTHER = "https://evil.example"
HOST = {"Host": "127.0.0.1:8000"}

router = Router("toy")


@router.get("/poll", scope="message")
def poll() -> dict[str, Any]:
    """Claim messages: a GET that changes state."""
    return {"done": True}


@router.post("/poll", scope="message", headers={"Idempotency-Key": "Once"})
def publish() -> dict[str, Any]:
    """Publish."""
    return {"done": True}


@router.get("/about", scope=None)
def about() -> dict[str, Any]:
    """Public."""
    return {"done": True}


def app_with(origins: str, stage: str = "prod") -> Chalice:
    """The toy API with ``origins`` configured."""
    return app_of(router, settings=Settings(stage=stage, cors_origins=origins))


def cors_headers(reply: Reply) -> dict[str, str]:
    """What of the reply's headers is about other origins."""
    return {name: value for name, value in reply.headers.items() if name.startswith("Access-Control") or name == "Vary"}


# -- cross-origin answers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["local", "prod"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_without_the_setting_there_are_no_headers(stage: str, method: str) -> None:
    reply = call(app_with("", stage), method, "/about", headers={"Origin": "http://127.0.0.1:8000", **HOST})
    assert (reply.status, cors_headers(reply)) == (200 if method == "GET" else 204, {})


def test_an_allowed_origin_is_told_back() -> None:
    app = app_with(f"https://a.example, {PAGE}/")
    for method, route in (("GET", "/about"), ("GET", "/poll"), ("PATCH", "/poll")):  # 200, 401, 405
        assert cors_headers(call(app, method, route, headers={"Origin": PAGE})) == {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": PAGE,
            "Access-Control-Expose-Headers": "x-request-id",
        }


@pytest.mark.parametrize("origin", [None, OTHER, "null", f"{PAGE}.evil.example", f"{PAGE}:8443", "http://app.example"])
def test_any_other_origin_is_told_nothing(origin: str | None) -> None:
    headers = {"Origin": origin} if origin is not None else {}
    for method in ("GET", "OPTIONS"):
        assert cors_headers(call(app_with(PAGE), method, "/about", headers=headers)) == {"Vary": "Origin"}


def test_a_star_allows_every_origin() -> None:
    reply = call(app_with("*"), "GET", "/about", headers={"Origin": OTHER})
    assert cors_headers(reply) == {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "x-request-id"}


def test_a_preflight_needs_no_key_and_names_what_the_path_takes() -> None:
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    reply = call(app_with(PAGE), "OPTIONS", "/poll", headers=asked)
    assert (reply.status, reply.text, reply.headers["Allow"]) == (204, "", "GET, OPTIONS, POST")
    assert cors_headers(reply) == {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": PAGE,
        "Access-Control-Allow-Methods": "GET, OPTIONS, POST",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key",
        "Access-Control-Max-Age": "7200",
        "Access-Control-Expose-Headers": "x-request-id",
    }


@pytest.mark.parametrize(
    "setting", ["app.example", "https://app.example/path", "ftp://a", "https://*.example", "https://["]
)
def test_a_setting_that_is_no_origin_is_refused(setting: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        cors.origins(setting)
    assert (caught.value.field, caught.value.got) == ("TASKYARD_CORS_ORIGINS", setting)


def test_origins_are_read_leniently() -> None:
    found = cors.origins(" HTTPS://App.Example/ ,, http://[::1]:3000,")
    assert (found.every, found.listed) == (False, {"https://app.example", "http://[::1]:3000"})
    assert cors.origins("*").allow("null")


# -- the local stage --------------------------------------------------------------------------------------------------


def status(headers: Mapping[str, str], *, method: str = "POST", route: str = "/poll", origins: str = "") -> int:
    """What stage local answers to a request with ``headers``."""
    return call(app_with(origins, "local"), method, route, headers=headers).status


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8000", "127.8.8.8:1", "localhost", "LOCALHOST:8000", "[::1]:8000", "api.localhost:8000"],
)
def test_this_machine_may_call_by_any_of_its_names(host: str) -> None:
    assert status({"Host": host}) == 200
    assert status({"Host": host, "Origin": f"http://{host}"}) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:8000", "0:80", "[", "localhost@x", ""]
)
def test_a_host_that_is_not_this_machine_is_refused(host: str) -> None:
    for method, route in (("POST", "/poll"), ("GET", "/poll"), ("GET", "/about"), ("OPTIONS", "/poll")):
        assert status({"Host": host}, method=method, route=route) == 403


def test_a_configured_origins_host_may_be_called() -> None:
    assert status({"Host": "taskyard:8000"}, origins="http://taskyard:8000") == 200
    assert status({"Host": "taskyard:9000"}, origins="http://taskyard:8000") == 403
    assert status({"Host": "evil.example"}, origins="*") == 403


@pytest.mark.parametrize("origin", [OTHER, "http://127.0.0.1:3000", "http://localhost:8000", "null", "file://", ""])
def test_a_page_of_another_origin_is_refused(origin: str) -> None:
    for method, route in (("POST", "/poll"), ("GET", "/poll"), ("GET", "/about"), ("PATCH", "/poll")):
        assert status({**HOST, "Origin": origin}, method=method, route=route) == 403


def test_the_refusal_says_what_to_do() -> None:
    reply = call(app_with("", "local"), "POST", "/poll", headers={**HOST, "Origin": OTHER})
    assert reply.json == {
        "statusCode": 403,
        "error": "Forbidden",
        "message": "stage local, which needs no access key, refuses requests of other web pages",
        "details": [{"field": "origin", "expected": "this API's own pages", "got": OTHER}],
        "remedy": "name the page's origin in TASKYARD_CORS_ORIGINS",
    }


@pytest.mark.parametrize("origins", [PAGE, "*"])
def test_a_configured_origin_may_call(origins: str) -> None:
    assert status({**HOST, "Origin": PAGE, "Sec-Fetch-Site": "cross-site"}, origins=origins) == 200


def test_a_page_that_sends_no_origin_is_told_by_its_site() -> None:
    """An image or a link: the browser sends no Origin, but says where the request comes from."""
    for site, expected in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
        assert status({**HOST, "Sec-Fetch-Site": site}, method="GET") == expected
        assert status({**HOST, "Sec-Fetch-Site": site}, method="GET", route="/about") == 200


def test_a_preflight_of_a_foreign_page_is_answered_without_leave() -> None:
    reply = call(app_with("", "local"), "OPTIONS", "/poll", headers={**HOST, "Origin": OTHER})
    assert (reply.status, cors_headers(reply)) == (204, {})


def test_other_stages_do_not_look_at_host_or_page() -> None:
    headers = {"Host": "abc.execute-api.us-east-1.amazonaws.com", "Origin": OTHER, "Sec-Fetch-Site": "cross-site"}
    assert call(app_with(""), "GET", "/about", headers=headers).status == 200
