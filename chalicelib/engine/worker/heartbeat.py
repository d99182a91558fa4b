"""The heartbeat: while a batch is worked on, its messages stay hidden and the running job keeps its lease.

A thread does it every third of a lease, and is joined before the function returns. It also shares out the rest of
the batch when one job takes long, so that no job waits behind another while other workers are free. And it is the
last resort against a handler that will not stop: once the grace after its deadline is over, the thread settles the
attempt and ends the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType

from chalicelib.core.causes import Cause
from chalicelib.core.decisions import Failed, Nack
from chalicelib.core.job import JobError
from chalicelib.engine.worker.context import Context
from chalicelib.engine.worker.run import remembered
from chalicelib.engine.worker.settle import settle
from chalicelib.engine.worker.shutdown import stopping
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.queue.contract import Received

BEATS_PER_LEASE = 3
TICK_S = 0.25
SHARE_AFTER_MS = 2_000  # how long a job may keep the rest of its batch waiting
STUCK_EXIT_CODE = 70
AGAIN_AFTER_MS = 2_000  # a beat that failed: a whole beat later, the lease would hang on a single try
CLOCK_SETTINGS = 3  # how often the messages are hidden at most while the clock is being set


class Heartbeat:
    """Keeps the messages of one batch hidden. Use as a context manager around the work on them.

    ``hidden_until_ms``: they are hidden for a lease already, until then. ``when_slow`` is called again and again while
    a job takes long.
    """

    def __init__(
        self,
        yard: Yard,
        messages: Sequence[Received],
        hidden_until_ms: int | None = None,
        when_slow: Callable[[], None] = lambda: None,
    ) -> None:
        self._yard = yard
        self._when_slow = when_slow
        self._messages = {message.message_id: message for message in messages}
        self._waiting = dict(self._messages)  # those that nobody has begun with
        self._running: list[tuple[Context, Received | None]] = []  # several, where one call runs a batch
        self._running_since_ms = 0
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self.hidden_until_ms = hidden_until_ms or 0
        self._beat_at_ms = self.hidden_until_ms - yard.settings.lease_s * 1_000
        self._failed_at_ms: int | None = None  # the newest beat, if it failed

    def __enter__(self) -> Heartbeat:
        self.renewed_until_ms()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def extend_visibility(self) -> int:
        """Hide all messages for one lease from now; returns until when, in ms since 1970.

        The time is read before the call, so the ledger's lease never outlives the hiding. The first answers of AWS may
        set the clock meanwhile: then the time before means nothing, and the messages are hidden anew.
        """
        with self._lock:
            lease_s = self._yard.settings.lease_s
            for _ in range(CLOCK_SETTINGS):
                beat_at_ms = self._yard.now_ms()
                if self._messages:
                    self._yard.transport.hide(list(self._messages.values()), lease_s)
                if 0 <= self._yard.now_ms() - beat_at_ms < lease_s * 1_000 // 2:
                    break
            self._beat_at_ms = beat_at_ms
            self.hidden_until_ms = self._beat_at_ms + lease_s * 1_000
            return self.hidden_until_ms

    def renewed_until_ms(self) -> int:
        """Until when the messages are hidden; hidden anew first, if no beat came for half a lease.

        That happens when SQS did not answer, or when a handler kept the interpreter to itself.
        """
        with self._lock:
            silent_ms = self._yard.now_ms() - self._beat_at_ms
            is_late = not 0 <= silent_ms * 2 < self._yard.settings.lease_s * 1_000
            return self.extend_visibility() if is_late else self.hidden_until_ms

    def begin(self, message: Received) -> bool:
        """Begin with a message; false when it was shared out, and is no longer this worker's."""
        with self._lock:
            self._waiting.pop(message.message_id, None)
            return message.message_id in self._messages

    def let_go(self, message: Received) -> None:
        """It is decided what happens to the message: extend it no longer."""
        with self._lock:
            self._messages.pop(message.message_id, None)
            self._waiting.pop(message.message_id, None)
            self._running = [run for run in self._running if run[1] is not message]

    def watch(self, context: Context, message: Received | None) -> None:
        """Keep the lease of a run that begins now; ``message`` is what brought the job, if one did."""
        with self._lock:
            self._running.append((context, message))
            self._running_since_ms = self._yard.now_ms()

    def unwatch(self, context: Context | None = None) -> None:
        """The run has ended, or all have; from here on only the main thread settles it."""
        with self._lock:
            self._running = [run for run in self._running if context is not None and run[0] is not context]

    def _beat(self) -> None:
        beat_ms = self._yard.settings.lease_s * 1_000 // BEATS_PER_LEASE
        while not self._stop.wait(min(TICK_S, beat_ms / 1_000)):
            with self._lock:
                running = self._running
                if any(self._is_stuck(context) for context, _ in running):
                    self._end_stuck()
                if running and self._is_slow():
                    self._when_slow()
                    if self._waiting:
                        self._share_out()
                if self._is_due(beat_ms):
                    self._extend([context for context, _ in running])

    def _is_due(self, beat_ms: int) -> bool:
        now_ms = self._yard.now_ms()
        if self._failed_at_ms is not None:
            return not 0 <= now_ms - self._failed_at_ms < AGAIN_AFTER_MS
        return now_ms - self._beat_at_ms >= beat_ms

    def _extend(self, contexts: Sequence[Context]) -> None:
        self._failed_at_ms = None
        try:
            until_ms = self.extend_visibility()
        except Exception:  # the next try may succeed; if none does, the lease simply ends
            self._failed_at_ms = self._yard.now_ms()
            logger.exception("heartbeat failed")
            return
        for context in contexts:
            self._keep(context, until_ms)

    def _keep(self, context: Context, until_ms: int) -> None:
        try:
            if context.cancelled:
                context.keep_slot(until_ms)
            else:
                context.extend_until(until_ms)
        except Exception:  # as above
            self._failed_at_ms = self._yard.now_ms()
            logger.exception("heartbeat failed", extra={"job_id": context.job.id})

    def _is_slow(self) -> bool:
        return self._yard.now_ms() - self._running_since_ms >= SHARE_AFTER_MS or stopping.is_set()

    def _share_out(self) -> None:
        """Show the messages that nobody has begun with to other workers, at once."""
        try:
            self._yard.transport.hide(list(self._waiting.values()), 0)
        except Exception:  # they wait for this worker, as they would have anyway; the next tick tries again
            logger.exception("batch not shared out")
            return
        for message_id in self._waiting:
            del self._messages[message_id]
        self._waiting.clear()

    def _is_stuck(self, context: Context) -> bool:
        if context.deadline_ms is None:
            return False
        grace_ms = round(self._yard.settings.stop_grace_s * 1_000)
        return self._yard.now_ms() > context.deadline_ms + grace_ms

    def _end_stuck(self) -> None:
        try:
            for context, message in self._running:
                self._settle_stuck(context, message)
        finally:
            self._running = []
            self._yard.exit_process(STUCK_EXIT_CODE)

    def _settle_stuck(self, context: Context, message: Received | None) -> None:
        job = context.job
        error = JobError("Timeout", f"attempt {job.attempts} overran its time and would not stop")
        logger.error("handler will not stop; ending the process", extra={"job_id": job.id, "type": job.type})
        try:
            context.ensure_claimed()  # of a light run, which has claimed nothing yet
            _, disposition = settle(
                self._yard, context.job, Failed(error, succeeded_subscribers=remembered(context), cause=Cause.TIMED_OUT)
            )
            context.keep_printed()
            if message is not None and isinstance(disposition, Nack) and disposition.delay_s is not None:
                self._yard.transport.hide([message], disposition.delay_s)
        except Exception:  # the process ends all the same; the lease then ends by itself
            logger.exception("the stuck attempt was not recorded")
