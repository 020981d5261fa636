"""What processes use is read off /proc."""

import os
import socket
import subprocess
import sys
import time

from bench.processes import listener_on, usage_of

_BUSY = "import time; end = time.process_time() + 0.2\nwhile time.process_time() < end: pass"


def test_a_family_is_counted_with_the_children_that_have_ended() -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_BUSY!r}]); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
        deadline = time.monotonic() + 30
        while (used := usage_of({"busy": [child.pid]})["busy"]).cpu < 0.2:
            assert time.monotonic() < deadline, used
        child.communicate(b"\n")
    assert used.peak > 1_000_000


def test_who_has_ended_uses_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    used = usage_of({"gone": [child.pid]})
    assert (used["gone"].cpu, used["gone"].peak) == (0, 0)
    assert used["driver"].cpu > 0


def test_a_server_is_found_by_its_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listener_on(port) == os.getpid()
    assert listener_on(port) is None
