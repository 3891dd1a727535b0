"""Both clients under one face, so that each test is of both."""

import asyncio
from collections.abc import Callable
from typing import Any

from beamhouse.client import AsyncClient, Client, Event, Retries

QUICK = Retries(attempts=3, first_wait_s=0.001, max_wait_s=5.0)


class Waiting:
    """`Client`, called by the names of its methods."""

    def call(self, url: str, name: str, *arguments: Any, **fields: Any) -> Any:
        with Client(url, retries=QUICK) as client:
            return getattr(client, name)(*arguments, **fields)

    def stream(self, url: str, hear: Callable[[Event], bool], **fields: Any) -> None:
        """Until the last event, or until one is enough."""
        with Client(url, retries=QUICK) as client, client.stream(**fields) as events:
            for event in events:
                if hear(event):
                    return


class Awaiting:
    """`AsyncClient`, likewise."""

    def call(self, url: str, name: str, *arguments: Any, **fields: Any) -> Any:
        async def call() -> Any:
            async with AsyncClient(url, retries=QUICK) as client:
                return await getattr(client, name)(*arguments, **fields)

        return asyncio.run(call())

    def stream(self, url: str, hear: Callable[[Event], bool], **fields: Any) -> None:
        async def stream() -> None:
            async with AsyncClient(url, retries=QUICK) as client, client.stream(**fields) as events:
                async for event in events:
                    if hear(event):
                        return

        asyncio.run(stream())


Speaking = Waiting | Awaiting


def heard(client: Speaking, url: str, **fields: Any) -> list[Event]:
    """All events of a stream."""
    events: list[Event] = []
    client.stream(url, lambda event: events.append(event) is not None, **fields)
    return events
