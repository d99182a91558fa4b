"""A child that will not end when it is asked to."""

from __future__ import annotations

import signal
import threading

from chalicelib.local import channel as channels

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel = channels.from_standard_input()
    channels.exit_at_end(channel)
    channel.send({"ready": True})
    threading.Event().wait()
