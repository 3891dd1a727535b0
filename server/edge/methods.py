"""What HTTP asks of every path beside its own methods: HEAD where there is GET, OPTIONS, and the whole of `Allow`."""

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

EVERYTHING = "*"  # `OPTIONS *` asks about the server as a whole


class Methods:
    """ASGI middleware. routes: all that the application has."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = [route for route in routes if isinstance(route, Route)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS" and (allowed := self._allowed(scope)):
            await Response(status_code=204, headers={"Allow": allowed})(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"

        async def send_as_asked(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 405:
                MutableHeaders(scope=message)["Allow"] = self._allowed(scope)
            elif message["type"] == "http.response.body" and is_head:
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"} if is_head else scope, receive, send_as_asked)

    def _allowed(self, scope: Scope) -> str:
        """The methods of a path, for the header; empty for one that is not there."""
        on_path = [
            route.methods or set()
            for route in self._routes
            if scope["path"] == EVERYTHING or route.matches(scope)[0] is not Match.NONE
        ]
        methods = set[str]().union(*on_path)
        if not methods:
            return ""
        return ", ".join(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))
