"""The API's process when another one takes over from it."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys

from chalicelib.local.channel import pair
from chalicelib.local.emulator import PROJECT_ROOT
from chalicelib.local.standby import READY
from tests.support.waiting import DEADLINE_S


def test_told_to_end_it_answers_what_comes_on_open_connections_and_takes_no_new_ones() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        channel, far_end = pair()
        descriptor, port = listener.fileno(), listener.getsockname()[1]
        command = [sys.executable, "-m", "chalicelib.local.api_process", str(descriptor)]
        with far_end, subprocess.Popen(command, cwd=PROJECT_ROOT, stdin=far_end, pass_fds=[descriptor]) as process:
            try:
                assert channel.receive(DEADLINE_S) == READY
                opened, new = (http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S) for _ in range(2))
                assert _asked(opened) == (404, None)
                process.send_signal(signal.SIGSTOP)
                process.terminate()
                opened.request("GET", "/nowhere")  # both are there when it goes on
                process.send_signal(signal.SIGCONT)
                assert _answer(opened) == (404, "close")
                new.connect()
                assert process.wait(DEADLINE_S) == 0
                listener.settimeout(DEADLINE_S)
                listener.accept()[0].close()  # the new one was left to others
            finally:
                process.kill()


def _asked(connection: http.client.HTTPConnection) -> tuple[int, str | None]:
    connection.request("GET", "/nowhere")
    return _answer(connection)


def _answer(connection: http.client.HTTPConnection) -> tuple[int, str | None]:
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("connection")
