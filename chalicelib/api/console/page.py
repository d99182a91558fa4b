"""``GET /console``: the page that people see and steer an installation with, and what it loads.

It tells nothing by itself and needs no key: all that it shows it asks the API for, with the key that its user enters.
The files are read at the first request for one; no other function, and no other route, pays for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from chalicelib.core.errors import NotFound
from chalicelib.http.confined import confining
from chalicelib.http.exchange import Answer, Caller
from chalicelib.http.models import ApiModel, Name
from chalicelib.http.routes import Router

if TYPE_CHECKING:
    from chalicelib.api.console.files import File

router = Router("Console")  # a section of the documentation that me.py describes
ROUTERS = (router,)

PATH = "/console"
HTML = "text/html; charset=utf-8"
CONFINED = confining(script="'self'", style="'self'", image="'self' data:")
ASK_AGAIN = "no-cache"  # kept, and asked about each time: the names of what it loads change
FOR_EVER = "public, max-age=31536000, immutable"  # its name changes with it
UNCHANGED = {304: "The client has it already"}
IF_NONE_MATCH = {"If-None-Match": "The ETag of what the client has"}


class FilePath(ApiModel):
    """A file of the console."""

    file: Name = Field(description="As the page names it")


@router.get(PATH, scope=None, answer=str, content_type=HTML, answers=UNCHANGED, headers=IF_NONE_MATCH)
def console(caller: Caller) -> Answer:
    """The console, a page for browsers."""
    from chalicelib.api.console import files

    base = "" if caller.url_path.endswith("/") else "console/"  # relative: what stands before the path may be hidden
    return _sent(files.page(base), caller, {"Cache-Control": ASK_AGAIN, **CONFINED})


@router.get(
    f"{PATH}/{{file}}",
    scope=None,
    answer=str,
    content_type="text/javascript; charset=utf-8",
    answers={**UNCHANGED, 404: "The console has no such file"},
    headers=IF_NONE_MATCH,
)
def console_file(path: FilePath, caller: Caller) -> Answer:
    """A script or the style of the console."""
    from chalicelib.api.console import files

    found = files.files().get(path.file)
    if found is None:
        raise NotFound("the console has no such file", got=path.file, remedy="load the page again: it is a newer one")
    return _sent(found, caller, {"Cache-Control": FOR_EVER})


def _sent(file: File, caller: Caller, headers: Mapping[str, str]) -> Answer:
    """``file``, or, to a client that has it, only that it is the same."""
    told = {**headers, "ETag": file.etag}
    if file.etag in caller.headers.get("if-none-match", ""):
        return Answer(304, headers=told)
    return Answer(body=file.text, content_type=file.content_type, headers=told)
