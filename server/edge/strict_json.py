"""Reads request bodies: every limit holds before memory is used, and what is not exactly JSON is refused.

orjson refuses NaN, infinities, lone surrogates, byte order marks and bad UTF-8. What it lets through is found here:
repeated keys, deep nesting, and containers so large that checking them would hold the event loop.
"""

import json
import time
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Self, TypeVar

import anyio
import orjson
from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.types import Receive, Scope

from beamhouse.schemas.problems import MAX_SHOWN
from beamhouse.schemas.words import ErrorCode
from beamhouse.server.edge.errors import Refused
from beamhouse.server.edge.validation import body_models
from beamhouse.server.service import Service

LARGE_BYTES = 2**14
"""A body that large is looked through in a worker thread, so that the event loop goes on meanwhile."""
MAX_DEPTH = 64
MAX_KEYS = 256
MAX_VALUES = 2**19
MAX_KEY_LEN = 1024
MAX_CONTAINERS = 2**16
SCALARS = frozenset({str, int, float, bool, type(None)})

Checked = TypeVar("Checked", bound=BaseModel)


def parse_json(data: bytes) -> Any:
    """The value of a JSON text. Raises Refused (400, or 422 for too much of something)."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Refused(400, ErrorCode.MALFORMED_JSON, f"the body is not valid JSON: {error}"[:200]) from None
    num_keys = count_keys(value)
    # A valid text has one colon outside its strings per key, so fewer keys than colons means that some were repeated.
    if data.count(b":") != num_keys and count_colons(data) != num_keys:
        raise Refused(400, ErrorCode.DUPLICATE_KEY, f"the key {find_repeated_key(data)!r} is repeated in one object")
    return value


def parse_inner(text: str, name: str) -> Any:
    """The value of a JSON text in the body's field `name`. Raises as `parse_json`, and tells of the field."""
    try:
        return parse_json(text.encode())
    except Refused as error:
        detail = f"{name}: {error.detail.replace('the body', 'its text')}"
        raise Refused(error.status_code, error.code, detail) from None


def read_json(data: bytes) -> Any:
    """What the body holds. Raises as `parse_json`."""
    return unfold_config(parse_json(data))


def read_checked(data: bytes, model: type[Checked]) -> Checked:
    """The body as its model. Raises as both of these do."""
    return checked(read_json(data), model)


def checked(value: Any, model: type[Checked]) -> Checked:
    """The body as its model. Raises RequestValidationError as the framework does."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in problems], body=value) from None


def count_colons(data: bytes) -> int:
    """Colons outside the strings of a valid JSON text."""
    without_escapes = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(without_escapes.split(b'"')[::2]).count(b":")


def count_keys(root: object) -> int:
    """How many object keys there are; refuses what is too deep, too wide or too much."""
    num_keys = num_values = num_containers = depth = 0
    level = [root]
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise Refused(400, ErrorCode.TOO_DEEP, f"the body is nested more than {MAX_DEPTH} levels deep")
        num_containers += len(level)
        if num_containers > MAX_CONTAINERS:
            raise Refused(
                422, ErrorCode.TOO_MANY_VALUES, f"the body holds more than {MAX_CONTAINERS} lists and objects"
            )
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                num_keys += len(item)
                check_keys(item)
                members = list(item.values())
            elif isinstance(item, list):
                members = item
            else:
                continue
            num_values += len(members)
            if num_values > MAX_VALUES:
                raise Refused(422, ErrorCode.TOO_MANY_VALUES, f"the body holds more than {MAX_VALUES} values")
            if not SCALARS.issuperset(map(type, members)):
                below += (member for member in members if isinstance(member, dict | list))
        level = below
    return num_keys


def check_keys(item: dict[str, object]) -> None:
    if len(item) > MAX_KEYS:
        raise Refused(
            422, ErrorCode.TOO_MANY_KEYS, f"an object of the body has {len(item)} keys; at most {MAX_KEYS} are allowed"
        )
    longest = max(map(len, item), default=0)
    if longest > MAX_KEY_LEN:
        raise Refused(422, ErrorCode.KEY_TOO_LONG, f"a key has {longest} characters; at most {MAX_KEY_LEN} are allowed")


def find_repeated_key(data: bytes) -> str:
    """The first repeated key of a JSON text that has one."""
    found: list[str] = []

    def look(pairs: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found.append(key)
            seen.add(key)

    json.loads(data, object_pairs_hook=look)
    return found[0][:MAX_SHOWN]


class StrictRequest(Request):
    """A request whose body is read within limits and parsed once.

    arrived_at: when its head had been read, in `time.monotonic()` seconds.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        super().__init__(scope, receive)
        self.arrived_at = time.monotonic()

    @classmethod
    def of(cls, request: Request) -> Self:
        """The request read strictly; one that is, stays itself, with what was read already."""
        return request if isinstance(request, cls) else cls(request.scope, request.receive)

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            settings = service_of(self).settings.server
            self.check_content_type()
            with anyio.move_on_after(settings.body_timeout_s):
                self._body = await self.read(settings.max_body_bytes)
            if not hasattr(self, "_body"):
                raise Refused(
                    408, ErrorCode.BODY_TIMEOUT, f"the body did not arrive within {settings.body_timeout_s:g} seconds"
                )
            if not self._body:
                raise Refused(400, ErrorCode.MALFORMED_JSON, "the body is empty; a JSON object is needed")
        return self._body

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            data = await self.body()
            self._json = read_json(data) if len(data) < LARGE_BYTES else await anyio.to_thread.run_sync(read_json, data)
        return self._json

    async def check_large(self, model: type[BaseModel]) -> None:
        """Make its model of a large body in a worker thread, so that the event loop goes on meanwhile.

        What then checks bodies takes a model as it is.
        """
        if len(await self.body()) >= LARGE_BYTES:
            self._json = await anyio.to_thread.run_sync(checked, await self.json(), model)

    def check_content_type(self) -> None:
        given = self.headers.get("content-type", "")
        kind, _, parameters = given.partition(";")
        charset = parameters.replace(" ", "").replace('"', "").lower()
        if kind.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
            message = f"content-type is {given[:MAX_SHOWN]!r}; allowed: application/json in UTF-8"
            raise Refused(415, ErrorCode.UNSUPPORTED_MEDIA_TYPE, message)
        codings = self.headers.get("content-encoding", "")
        if {coding.strip().lower() for coding in codings.split(",")} - {"", "identity"}:
            message = f"content-encoding is {codings[:MAX_SHOWN]!r}; allowed: identity, that is, no encoding"
            raise Refused(415, ErrorCode.UNSUPPORTED_ENCODING, message, {"Accept-Encoding": "identity"})

    async def read(self, max_bytes: int) -> bytes:
        announced = self.headers.get("content-length", "0")
        too_large = Refused(413, ErrorCode.BODY_TOO_LARGE, f"the body is larger than {max_bytes} bytes")
        if not announced.isdecimal() or len(announced) > 18 or int(announced) > max_bytes:
            raise too_large
        chunks: list[bytes] = []
        size = 0
        async for chunk in self.stream():
            size += len(chunk)
            if size > max_bytes:
                raise too_large
            chunks.append(chunk)
        return b"".join(chunks)


def unfold_config(body: object) -> object:
    """The body with a `generation_config` that was given as JSON text turned into the object it stands for."""
    if isinstance(body, dict):
        text = body.get("generation_config")
        if isinstance(text, str) and text.lstrip().startswith("{"):
            return {**body, "generation_config": parse_inner(text, "generation_config")}
    return body


def service_of(request: Request) -> Service:
    """What the application serves with; the same object for all its requests."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


Served = Annotated[Service, Depends(service_of)]


Handle = Callable[[Request], Coroutine[Any, Any, Response]]


class StrictRoute(APIRoute):
    """A route that reads its body as `StrictRequest` does. answer: what it does with a request that came to it."""

    answer: Handle

    def get_route_handler(self) -> Handle:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            strict = StrictRequest.of(request)
            for model in body_models(request):
                await strict.check_large(model)
            return await handler(strict)

        self.answer = handle
        return handle
