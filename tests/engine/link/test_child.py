"""The engine process in its parent's hands."""

import asyncio
import sys
from contextlib import closing

import pytest

from beamhouse.engine.link.child import Child

pytestmark = pytest.mark.anyio
ECHO = (sys.executable, "-c", "import sys; sys.exit(len(sys.stdin.readline()))")
WAIT = (sys.executable, "-c", "import sys; sys.stdin.read()")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_it_hears_what_is_sent_and_its_end_is_noticed() -> None:
    with closing(Child(ECHO)) as child:
        assert child.returncode is None
        child.socket.sendall(b"seven..\n")
        assert await asyncio.wait_for(child.ended(), 10) == 8
        assert await child.ended() == child.returncode == 8


async def test_it_ends_when_its_parent_leaves() -> None:
    with closing(Child(WAIT)) as child:
        child.socket.close()
        assert await asyncio.wait_for(child.ended(), 10) == 0


async def test_closing_ends_it_however_often() -> None:
    child = Child(WAIT)
    waiting = asyncio.ensure_future(child.ended())
    await asyncio.sleep(0)
    child.close()
    child.close()
    assert await asyncio.wait_for(waiting, 10) == -9
