"""Byte code for the Lambda archive.

Lambda's folder is read-only, so Python there would compile every module at every cold start. The byte code is never
compared with its source (PEP 552, unchecked): both come in one archive and neither changes.
"""

from __future__ import annotations

import importlib.util
import marshal
import sys
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from chalicelib.core.errors import TaskyardError

LAMBDA_FOLDER = "/var/task"  # where the archive lies on Lambda, and what tracebacks shall show
UNCHECKED_HASH = (0b01).to_bytes(4, "little")
READABLE = 0o644 << 16  # by Lambda's user, who is not the one that unpacks


class BytecodeRefused(TaskyardError):
    """A module in the archive cannot be compiled."""


def add_bytecode(archive: Path) -> None:
    """Compile each module in ``archive`` that has no byte code there, for the version of the Python that runs this.

    Raises ``BytecodeRefused`` when one does not compile.
    """
    with ZipFile(archive, "a", ZIP_DEFLATED) as zipped:
        contents = dict.fromkeys(zipped.namelist())
        for source in contents:
            if source.endswith(".py") and cached(source) not in contents:
                entry = ZipInfo(cached(source), zipped.getinfo(source).date_time)
                entry.external_attr, entry.compress_type = READABLE, ZIP_DEFLATED
                zipped.writestr(entry, _compiled(source, zipped.read(source)))


def cached(source: str) -> str:
    """Where Python looks for the byte code of ``source``, both as paths in the archive."""
    path = PurePosixPath(source)
    return str(path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc")


def _compiled(source: str, text: bytes) -> bytes:
    try:
        code = compile(text, f"{LAMBDA_FOLDER}/{source}", "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError) as error:
        raise BytecodeRefused(f"{source} does not compile: {error}") from error
    return importlib.util.MAGIC_NUMBER + UNCHECKED_HASH + importlib.util.source_hash(text) + marshal.dumps(code)
