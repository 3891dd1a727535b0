"""What the API's document says of the answers of this protocol."""

from typing import Any

from beamhouse.schemas.openai.answers import ErrorAnswer
from beamhouse.server.edge.document import EVENTS_TYPE, JSON_TYPE, closed_by_done, events, schema_without_names


def answered(kind: type, chunk: type | None = None, *, has_done: bool = True) -> dict[int | str, dict[str, Any]]:
    """The answers of a route. kind: of its JSON. chunk: of its stream, if it may be one. has_done: its last mark."""
    content: dict[str, Any] = {JSON_TYPE: {"schema": schema_without_names(kind)}}
    if chunk is not None:
        content[EVENTS_TYPE] = closed_by_done(events(chunk, ErrorAnswer)) if has_done else events(chunk)
    failed = {
        "description": "Why there is no answer",
        "content": {JSON_TYPE: {"schema": schema_without_names(ErrorAnswer)}},
    }
    return {200: {"description": "The answer", "content": content}, 422: failed, "default": failed}
