"""The code of Lambda functions, unpacked once for all the processes that run it.

MiniStack unpacked a function's archive for each of its processes: with Taskyard's 2,000 files, over a second of
processor time in which the emulator answered hardly anybody. Here they share the folder that MiniStack keeps for each
archive where functions run in containers. As on Lambda, code has no business to write there.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

CODE = "code.zip"  # beside which are the archives of layers


def share_code() -> None:
    """Let MiniStack's processes of Lambda functions share their code; once."""
    from ministack.core import lambda_runtime

    lambda_runtime.zipfile = SimpleNamespace(**{**vars(zipfile), "ZipFile": _Archive})


class _Archive(zipfile.ZipFile):
    """Unpacks code by a link to where it lies unpacked."""

    def extractall(self, path: Any = None, *arguments: Any, **options: Any) -> None:
        from ministack.services.lambda_svc import _docker_extracted_dir

        if self.filename is None or Path(self.filename).name != CODE:
            return super().extractall(path, *arguments, **options)
        os.rmdir(path)
        os.symlink(_docker_extracted_dir(Path(self.filename).read_bytes(), "code"), path)
        return None
