"""What the API's document says of the answers of this protocol."""

from beamhouse.schemas.openai.answers import ErrorAnswer
from beamhouse.server.edge.document import JsonSchema, answers, closed_by_done, events


def answered(kind: type, chunk: type | None = None, *, has_done: bool = True) -> dict[int | str, JsonSchema]:
    """The answers of a route. kind: of its JSON. chunk: of its stream, if it may be one. has_done: its last mark."""
    if chunk is None:
        return answers(kind, ErrorAnswer)
    return answers(kind, ErrorAnswer, closed_by_done(events(chunk, ErrorAnswer)) if has_done else events(chunk))
