"""What one submission brings while it runs, as its reader in the HTTP process sees it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType

from beamhouse.engine.link.errors import BY_CODE, EngineError, InvalidRequest, RequestFailed
from beamhouse.engine.link.messages import Finished, RequestOutputs
from beamhouse.schemas.words import ErrorCode


class Stream:
    """What one submission gains; ends after its last message, which `finished` then holds.

    Each turn of the iteration gives all that arrived since the one before, something at least. It raises the request's
    EngineError if it failed. Leaving the `async with` block early cancels the request.
    """

    def __init__(self, request_id: str, forget: Callable[[str], None]) -> None:
        self.request_id = request_id
        self.finished: Finished | None = None
        self._forget = forget
        self._arrived: list[RequestOutputs] = []
        self._last: Finished | EngineError | None = None
        self._news = asyncio.Event()
        self._is_over = False

    async def __aenter__(self) -> "Stream":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    async def __aiter__(self) -> AsyncIterator[list[RequestOutputs]]:
        while not self._is_over:
            await self._news.wait()
            self._news.clear()
            if self._arrived:
                arrived, self._arrived = self._arrived, []
                yield arrived
            if self._last is not None and not self._arrived:
                self._end(self._last)

    def cancel(self) -> None:
        """Stop the request within one step and free what it holds; does nothing once it has ended."""
        if not self._is_over:
            self._is_over = True
            self._forget(self.request_id)

    def put(self, outputs: RequestOutputs) -> None:
        self._arrived.append(outputs)
        self._news.set()

    def end(self, last: Finished | EngineError) -> None:
        """Nothing is put after this."""
        self._last = last
        self._news.set()

    def _end(self, last: Finished | EngineError) -> None:
        self._is_over = True
        if isinstance(last, EngineError):
            raise last
        self.finished = last
        if last.error_code is not None:
            raise _error_of(last)


def _error_of(message: Finished) -> EngineError:
    if message.error_code == InvalidRequest.code:
        return InvalidRequest(message.problems)
    return BY_CODE.get(message.error_code or ErrorCode.REQUEST_FAILED, RequestFailed)(message.error or "")
