"""Which connections a process has: real ones, of this process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from sshmux.system.sockets import has_connection

HOLD = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); input()"


def test_a_child_with_a_connection_and_one_without() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-c", HOLD, str(listener.getsockname()[1])]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
            listener.settimeout(20)
            connection, _ = listener.accept()
            with connection:
                assert has_connection(child.pid) is True
                child.communicate(b"\n", timeout=20)
        assert has_connection(child.pid) is None  # it is gone
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        assert has_connection(child.pid) is None
        child.communicate(timeout=20)


def test_a_process_that_never_was() -> None:
    assert has_connection(2**22 + os.getpid()) is None
