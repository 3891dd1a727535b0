"""Paths on which several protocols meet: the body tells whose request it is, and is read once."""

from collections.abc import Mapping
from typing import Any, ClassVar

from fastapi import Request, Response

from beamhouse.server.edge.strict_json import Handle, StrictRequest, StrictRoute, service_of
from beamhouse.server.service import Service


class MeetingRoute(StrictRoute):
    """A route that hands what it is not meant for to the one that is, by the names in the application's state.

    meant: from the content of a body to the name of the route that it is for; None for this one.
    """

    meant: "ClassVar[staticmethod[[Any, Service], str | None]]"

    def get_route_handler(self) -> Handle:
        own = super().get_route_handler()

        async def handle(request: Request) -> Response:
            strict = StrictRequest.of(request)
            name = type(self).meant(await strict.json(), service_of(request))
            if name is None:
                return await own(strict)
            routes: Mapping[str, StrictRoute] = request.app.state.routes
            # Whoever looks at the route from now on, to explain a fault or to choose the words for it, means this one.
            request.scope["route"] = routes[name]
            return await routes[name].answer(strict)

        self.answer = handle
        return handle
