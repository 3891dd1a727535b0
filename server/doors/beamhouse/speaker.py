"""How our own protocol says a run."""

from dataclasses import dataclass

from fastapi import Response

from beamhouse.schemas.beamhouse.answers import Answer
from beamhouse.schemas.beamhouse.events import ProgressEvent, TokenEvent, TokensEvent
from beamhouse.schemas.beamhouse.problem_json import ProblemJson
from beamhouse.server.answering.answer_json import encode_json
from beamhouse.server.answering.run import Run
from beamhouse.server.answering.tensors import write_safetensors
from beamhouse.server.edge.event_stream import as_event

SAFETENSORS = "application/octet-stream"
NAMES: dict[type, bytes] = {TokenEvent: b"token", TokensEvent: b"tokens", ProgressEvent: b"progress"}


@dataclass(frozen=True, slots=True)
class OwnSpeaker:
    """Events as they are, then `done` with the whole answer, or `error`."""

    run: Run

    def begin(self) -> bytes:
        return b""

    def say(self, event: TokenEvent | TokensEvent | ProgressEvent) -> bytes:
        return write_event(event)

    def end(self, answer: Answer) -> bytes:
        return as_event(b"done", self.run.answer_json(answer))

    def fail(self, problem: ProblemJson) -> bytes:
        return as_event(b"error", problem.model_dump_json(exclude_none=True).encode())

    def whole(self, answer: Answer) -> Response:
        """The JSON, or a safetensors file that holds it."""
        run, content = self.run, self.run.answer_json(answer)
        if run.accepted.outputs.tensors == "safetensors" and run.tensors:
            return Response(write_safetensors(run.tensors, content.decode()), media_type=SAFETENSORS)
        return Response(content, media_type="application/json")


def write_event(event: TokenEvent | TokensEvent | ProgressEvent) -> bytes:
    return as_event(NAMES[type(event)], encode_json(event))
