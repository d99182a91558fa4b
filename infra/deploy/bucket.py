"""Which bucket the chosen stage keeps in what is above 256 KB, for a process that is none of its functions.

Functions are told by their environment. Without that a process would look into the bucket of stage local.
"""

from __future__ import annotations

import os

from chalicelib import settings
from infra.deploy.account import Account
from infra.deploy.intrinsics import resolved
from infra.storage import bucket_name


def choose_bucket() -> None:
    """Let this process use the bucket that the template of the chosen stage names, on AWS or on an emulator.

    Raises what botocore raises where there are no credentials.
    """
    settings.current.cache_clear()
    chosen = settings.current()
    if not chosen.local and not chosen.bucket:
        os.environ["TASKYARD_BUCKET"] = str(resolved(bucket_name(chosen), Account.current(chosen).place))
        settings.current.cache_clear()
