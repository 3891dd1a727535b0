"""Work that is not worth finishing when the client hangs up."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request
from starlette.types import Receive

from beamhouse.server.edge.errors import ClientGone

Result = TypeVar("Result")


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`; when the client hangs up first, `work` is cancelled and ClientGone raised."""
    task = asyncio.ensure_future(work)
    hang_up = asyncio.ensure_future(wait_for_hang_up(request.receive))
    try:
        await asyncio.wait({task, hang_up}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        for item in (task, hang_up):
            item.cancel()
        await asyncio.gather(task, hang_up, return_exceptions=True)


async def wait_for_hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
