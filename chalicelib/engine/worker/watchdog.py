"""The watchdog: a handler that keeps the interpreter to itself costs its process, never a second run beside the first.

One long call in C (``sum(range(n))``, a regular expression, some of numpy) lets no other thread run, the heartbeat
neither: the lease would pass on while the handler still works. ``faulthandler`` has a timer that needs no interpreter.
It is set anew as long as threads get their turn. Where they do not until the lease is nearly over, it writes down where
every thread stands and ends the process, so that nothing runs any more when the lease is free.

What it has written is found by the next batch of a worker on the same machine (on Lambda: in the same execution
environment, whose files outlive a process). That worker logs it and charges the attempt, with its reason and place.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from chalicelib import settings
from chalicelib.core.decisions import Failed
from chalicelib.core.job import Job, JobError
from chalicelib.engine.worker import run
from chalicelib.engine.worker.settle import settle
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.ledger import JobRefused

TURNS_PER_LEASE = 6  # how often the timer is set anew
MARGIN_SHARE = 10  # the process ends when a tenth of the lease is left
HEADER_BYTES = 8_192  # of a file, before what the timer writes: which jobs run, up to a batch of them
LEFT = "left-"  # how a file is named whose process can no longer be told by its number
INTERPRETER_HELD = "InterpreterHeld"  # the type of the error
RUN = f"/{run.__name__.replace('.', '/')}.py"  # on the stack of the thread that runs a handler
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>.*)$', re.MULTILINE)
_OWN = re.compile(r"/chalicelib/(?!tasks/)")


def folder() -> Path:
    """Where the workers of one installation leave word, as this user on this machine.

    Another installation's workers, which do not know the job, do not find it there.
    """
    chosen = settings.current()
    installation = f"{chosen.base_name} {chosen.region} {os.environ.get('AWS_ENDPOINT_URL', '')}"
    digest = hashlib.sha256(installation.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"taskyard-watchdog-{os.getuid()}-{digest}"


class Watchdog:
    """Watches this process while it works on batches."""

    def __init__(self) -> None:
        folder().mkdir(mode=0o700, exist_ok=True)
        if folder().stat().st_uid != os.getuid():
            raise PermissionError(f"{folder()} belongs to another user; remove it")
        path = folder() / str(os.getpid())
        with suppress(FileNotFoundError):
            path.rename(folder() / f"{LEFT}{path.name}")  # by an ended process that had the same number
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        os.lseek(self._file, HEADER_BYTES, os.SEEK_SET)

    def note(self, jobs: Sequence[Job]) -> None:
        """Remember which jobs' run begins."""
        header = json.dumps([[job.id, job.lease] for job in jobs])
        os.pwrite(self._file, f"{header}\n".encode(), 0)

    @contextmanager
    def watching(self, yard: Yard, lease_until_ms: Callable[[], int]) -> Iterator[None]:
        """See the function of this name."""
        lease_s = yard.settings.lease_s
        done = threading.Event()

        def watch() -> None:
            while not done.wait(lease_s / TURNS_PER_LEASE):
                self._set(lease_s, lease_until_ms() - yard.now_ms())

        self._set(lease_s, lease_until_ms() - yard.now_ms())
        thread = threading.Thread(target=watch, name="watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            faulthandler.cancel_dump_traceback_later()

    def _set(self, lease_s: int, left_ms: int) -> None:
        """Set the timer. A lease that AWS did not extend is no reason to end a process whose threads get their turn."""
        within_s = max(left_ms / 1_000 - lease_s / MARGIN_SHARE, 2 * lease_s / TURNS_PER_LEASE)
        faulthandler.dump_traceback_later(within_s, exit=True, file=self._file)


_watchdog: Watchdog | None = None


def watch_this_process() -> None:
    """Let this process be ended; for one that does nothing but work on batches. Once is enough."""
    global _watchdog  # there is one timer in a process
    if _watchdog is None:
        try:
            _watchdog = Watchdog()
        except OSError:  # it works all the same
            logger.exception("this process is not watched")


@contextmanager
def watching(yard: Yard, lease_until_ms: Callable[[], int]) -> Iterator[None]:
    """Within the block, a process that is watched ends when its threads get no turn until the lease is nearly over.

    ``lease_until_ms`` tells when that is. First, what others have left is charged.
    """
    if _watchdog is None:
        yield
        return
    try:
        _charge_the_ended(yard)
    except Exception:  # their leases end by themselves
        logger.exception("runs of ended processes were not charged")
    with _watchdog.watching(yard, lease_until_ms):
        yield


def note(*jobs: Job) -> None:
    """A run begins, of one job or of a batch."""
    if _watchdog is not None:
        _watchdog.note(jobs)


# -- what an ended process has left -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LastWord:
    """Which run held the interpreter, and where all threads stood."""

    job_id: int
    lease: str
    dump: str

    @property
    def where(self) -> str | None:
        """The innermost line of the handler, as an error names it: ``file:line function``."""
        runs = [stack for stack in self.dump.split("\n\n") if RUN in stack]
        frames = [frame for stack in runs for frame in _FRAME.finditer(stack) if not _OWN.search(frame["file"])]
        return next((f"{Path(f['file']).name}:{f['line']} {f['function']}" for f in frames), None)


def _charge_the_ended(yard: Yard) -> None:
    """Record the runs whose processes a watchdog has ended, unless others have taken them over since."""
    for word in last_words():
        detail = {"job_id": word.job_id, "where": word.where, "dump": word.dump}
        logger.error(
            "a handler held the interpreter until its lease was nearly over; its process was ended", extra=detail
        )
        job = yard.jobs.find(word.job_id)
        if job is None or job.lease != word.lease:
            continue
        text = (
            f"the handler held the interpreter for nearly its lease of {yard.settings.lease_s} s, "
            f"so its process was ended; let it release the interpreter, split the work, or raise TASKYARD_LEASE_S"
        )
        with suppress(JobRefused):  # it was canceled, or taken over
            settle(
                yard,
                job,
                Failed(JobError(INTERPRETER_HELD, text, word.where), succeeded_subscribers=job.succeeded_subscribers),
            )


def last_words() -> Iterator[LastWord]:
    """What ended processes of this user have left on this machine; each is told to one worker."""
    if not folder().is_dir():
        return
    for path in folder().iterdir():
        if not (path.name.startswith(LEFT) or (path.name.isdecimal() and not _runs(int(path.name)))):
            continue
        taken = folder() / f"taken-by-{os.getpid()}-{path.name}"
        with suppress(FileNotFoundError):  # another worker was faster
            path.rename(taken)
            header, dump = _halves(taken.read_bytes())
            taken.unlink()
            if header and dump:
                yield from (LastWord(job_id, lease, dump) for job_id, lease in json.loads(header))


def _halves(content: bytes) -> tuple[str, str]:
    header, dump = content[:HEADER_BYTES].partition(b"\n")[0], content[HEADER_BYTES:]
    return header.decode().strip("\0"), dump.decode(errors="replace").strip()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's by now
    return True
