"""Byte code for the Lambda archive.

Lambda's folder is read-only, so Python there would compile every module at every cold start. The byte code is never
compared with its source (PEP 552, unchecked): both come in one archive and neither changes.
"""

from __future__ import annotations

import compileall
import py_compile
import sys
import tempfile
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from chalicelib.core.errors import TaskyardError

LAMBDA_FOLDER = "/var/task"  # where the archive lies on Lambda, and what tracebacks shall show
CACHE = "__pycache__"


class BytecodeRefused(TaskyardError):
    """A module in the archive cannot be compiled."""


def add_bytecode(archive: Path) -> None:
    """Compile every module in ``archive`` for the version of the Python that runs this, and add the result to it.

    Raises ``BytecodeRefused`` when one does not compile.
    """
    with tempfile.TemporaryDirectory(prefix="taskyard-bytecode-") as folder:
        with ZipFile(archive) as zipped:
            zipped.extractall(folder)
        compiled = compileall.compile_dir(
            folder,
            maxlevels=sys.maxsize,
            quiet=2,
            force=True,
            stripdir=folder,
            prependdir=LAMBDA_FOLDER,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        if not compiled:
            raise BytecodeRefused("a module of the package does not compile", remedy=f"see `compileall {archive}`")
        with ZipFile(archive, "a", ZIP_DEFLATED) as zipped:
            for file in sorted(Path(folder).rglob(f"{CACHE}/*.pyc")):
                zipped.write(file, file.relative_to(folder))
