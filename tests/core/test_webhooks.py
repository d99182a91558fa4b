from __future__ import annotations

import base64
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import Job
from chalicelib.core.job_events import EventType, JobEvent
from chalicelib.core.states import Kind
from chalicelib.core.webhooks import (
    URL_MAX_CHARS,
    Webhook,
    checked_events,
    checked_url,
    is_public,
    new_id,
    new_secret,
    retry_after_s,
    signature,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105
BODY = b'{"event":"complete"}'


def test_a_signature_is_what_openssl_says() -> None:
    """printf 'm1.1750000000.{"event":"complete"}' | openssl dgst -sha256 -mac hmac -macopt hexkey:31f2... -binary"""
    assert signature(SECRET, "m1", 1_750_000_000, BODY) == "v1,hJr0Ij9igDL973zr9ncd4D/VKBQ65k23rSvCMsh7CUM="


@pytest.mark.parametrize("key", [bytes(range(200, 232)), b"\xfb\xef\xff" * 8, bytes(64)])
def test_a_secret_of_the_first_form_signs_with_the_bytes_that_it_encodes(key: bytes) -> None:
    first = "whsec_" + base64.urlsafe_b64encode(key).decode().rstrip("=")
    assert signature(first, "m", 1, BODY) == signature("whsec_" + base64.b64encode(key).decode(), "m", 1, BODY)


def test_the_former_secret_signs_too_until_it_ends() -> None:
    former = new_secret(bytes)
    made = Webhook(
        id="w", url="u", secret=SECRET, former_secret=former, former_until_ms=1_750_000_000_500, created_at_ms=1
    )
    by = {secret: signature(secret, "m", 1_750_000_000, BODY) for secret in (SECRET, former)}
    assert made.signed("m", BODY, 1_750_000_000_499) == {
        "webhook-id": "m",
        "webhook-timestamp": "1750000000",
        "webhook-signature": f"{by[SECRET]} {by[former]}",
        "Taskyard-Webhook": "w",
    }
    assert made.signed("m", BODY, 1_750_000_000_500)["webhook-signature"] == by[SECRET]
    assert former not in repr(made)


def test_secrets_and_ids_are_of_the_randomness_that_is_passed_in() -> None:
    assert new_id(bytes) == "000000000000"
    assert new_secret(bytes) == "whsec_" + "A" * 43 + "="


def test_a_webhook_does_not_show_its_secret() -> None:
    made = Webhook(id="w", url="https://a.example/", secret="whsec_x", created_at_ms=1)  # noqa: S106
    assert "whsec_x" not in repr(made)


@pytest.mark.parametrize(
    ("events", "types", "wanted"),
    [
        ((), (), True),
        ((EventType.START, EventType.COMPLETE), (), True),
        ((EventType.START,), (), False),
        ((), ("t", "u"), True),
        ((), ("u",), False),
        ((EventType.COMPLETE,), ("u",), False),
    ],
)
def test_what_a_webhook_wants(events: tuple[EventType, ...], types: tuple[str, ...], wanted: bool) -> None:
    job = Job(id=1, uid="b", kind=Kind.TASK, type="t", queue="q", created_at_ms=1, trace_id="x")
    event = JobEvent(what=EventType.COMPLETE, job=job, sequence="1", at_ms=1)
    webhook = Webhook(
        id="w",
        url="u",
        events=frozenset(events),
        types=frozenset(types),
        secret="s",  # noqa: S106
        created_at_ms=1,
    )
    assert webhook.wants(event) is wanted


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("100.64.0.1", False),  # carrier-grade NAT
        ("169.254.169.254", False),  # where clouds tell credentials
        ("0.0.0.0", False),  # noqa: S104
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::5db8:d822", True),
        ("2002:7f00:1::", False),
        ("2002:5db8:d822::", True),
        ("192.0.0.8", False),  # protocols
        ("192.88.99.1", False),
        ("fec0::1", False),  # site-local, deprecated
        ("64:ff9b:1::1", False),  # local-use NAT64
        ("::5db8:d822", False),  # IPv4-compatible
        ("::ffff:0:93.184.216.34", False),  # IPv4-translated
        ("5f00::1", False),  # SRv6
        ("2001::1", False),  # Teredo
        ("2001:20::1", False),  # ORCHIDv2
        ("2001:db8::1", False),  # documentation
        ("3fff:fff::1", False),
        ("3fff:1000::1", True),
        ("2001:200::1", True),
        ("4000::1", False),  # given to nobody
        ("hook.example", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


IPV4 = st.ip_addresses(v=4)


@given(address=IPV4, prefix=st.sampled_from(["::ffff:0:0", "64:ff9b::"]))
def test_an_ipv6_address_that_carries_one_of_ipv4_is_as_public_as_that(address: IPv4Address, prefix: str) -> None:
    assert is_public(str(IPv6Address(int(IPv6Address(prefix)) + int(address)))) is is_public(str(address))
    assert is_public(str(IPv6Address(0x2002 << 112 | int(address) << 80))) is is_public(str(address))


@given(address=st.ip_addresses(v=6))
def test_no_other_ipv6_address_outside_2000_3_is_public_nor_one_of_a_special_purpose(address: IPv6Address) -> None:
    carries = address.ipv4_mapped or address.sixtofour or address in IPv6Network("64:ff9b::/96")
    if not carries and is_public(str(address)):
        assert address in IPv6Network("2000::/3")
        assert not address.is_private


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example",
        "https://a.example:8443/in?key=1",
        "https://93.184.216.34/",
        "https://[2606:2800::1]/",
        "https://a.example./",
        "https://4.a.example/",
        "https://0x7f.example/",
    ],
)
def test_a_url_that_is_taken_everywhere(url: str) -> None:
    assert checked_url(url, local=False) == url


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9/", "http://localhost/in", "https://10.0.0.1/", "https://[fec0::1]/", "https://127.0.0.1./"]
    + ["https://localhost./", "https://a.localhost./"]
    + [
        f"https://{odd}/"
        for odd in ("2130706433", "127.1", "0x7f.1", "0X7F000001", "0177.0.0.1", "127.1.", "1.2.3.4.5")
    ],
)
def test_a_url_that_only_stage_local_takes(url: str) -> None:
    assert checked_url(url, local=True) == url
    with pytest.raises(InvalidInput, match="this is no URL for a webhook"):
        checked_url(url, local=False)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "printable"),
        ("https://a.example/ x", "printable"),
        ("https://a.example/\n", "printable"),
        ("https://ä.example/", "printable"),
        ("https://a.example/" + "x" * URL_MAX_CHARS, "at most 2048"),
        ("a.example/in", "got no scheme"),
        ("file:///etc/passwd", "got file:"),
        ("https://", "expected a host"),
        ("https://ann:pw@a.example/", "no user name"),
        ("https://a.example/#top", "no fragment"),
        ("https://a.example:99999/", "a port"),
        ("https://[::1/", "expected a host"),
    ],
)
def test_a_url_that_nobody_takes(url: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as refused:
        checked_url(url, local=True)
    assert "pw" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("0", 0),
        (" 120 ", 120),
        ("3601", 3_600),
        ("9" * 20, 3_600),
        ("9" * 5_000, None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("", None),
        ("soon", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 37),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 37),
        ("Sun Nov  6 08:49:37 1994", 37),
        ("Sun, 06 Nov 1994 08:48:00 GMT", 0),
        ("Sun, 06 Nov 2094 08:49:37 GMT", 3_600),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 +" + "9" * 30, None),
    ],
)
def test_what_retry_after_asks_for(text: str | None, expected: int | None) -> None:
    assert retry_after_s(text, 784_111_740.0) == expected  # 08:49:00 on that day


@settings(max_examples=50)
@given(text=st.text())
def test_whatever_a_receiver_writes_is_a_bounded_wait_or_none(text: str) -> None:
    found = retry_after_s(text, 784_111_740.0)
    assert found is None or 0 <= found <= 3_600


def test_events_are_those_that_happen() -> None:
    assert checked_events(["complete", "failed attempt"]) == {EventType.COMPLETE, EventType.FAILED_ATTEMPT}
    with pytest.raises(InvalidInput, match=r"events: nothing of this name .* expected create, .*; got finished"):
        checked_events(["complete", "finished"])
