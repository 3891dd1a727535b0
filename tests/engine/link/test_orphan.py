"""No engine process outlives its parent, whatever it computes when that ends."""

import os
import select
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WATCHED = (
    "import socket, sys; from beamhouse.engine.link.orphan import end_with_parent; link = socket.socket(fileno=0);"
)
BUSY = {
    "a call that holds the interpreter's lock": "end_with_parent(link); print(1, flush=True);"
    " import re; re.match('(a+)+$', 'a' * 60 + 'b')",
    "a wait, on a system without the kernel's signal": "sys.platform = 'other'; end_with_parent(link);"
    " print(1, flush=True); import threading; threading.Event().wait()",
}


@pytest.mark.parametrize("doing", list(BUSY))
def test_it_ends_when_its_parent_is_killed_whatever_it_does(doing: str) -> None:
    parent = f"""
        import sys
        from beamhouse.engine.link.child import Child
        child = Child((sys.executable, "-c", {WATCHED + BUSY[doing]!r}))
        print(child.pid, flush=True)
        child._process.wait()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(parent)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        handle = os.pidfd_open(pid)
        try:
            assert process.stdout.readline() == "1\n"
            process.kill()
            assert select.select([handle], [], [], 30)[0]
        finally:
            os.close(handle)


def test_it_ends_at_once_when_its_parent_had_left_before() -> None:
    code = f"{WATCHED} end_with_parent(link); import threading; threading.Event().wait()"
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=theirs.fileno())
        ours.close()
    assert process.wait(30) == 0
