"""How a run is said as a response: whole, or as the typed events of a stream."""

import time
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from fastapi import Response

from beamhouse.schemas.beamhouse.answers import Answer
from beamhouse.schemas.beamhouse.events import ProgressEvent, TokenEvent, TokensEvent
from beamhouse.schemas.beamhouse.problem_json import ProblemJson
from beamhouse.schemas.openai.answers import ChatToken
from beamhouse.schemas.openai.response_answers import (
    IncompleteDetails,
    InputDetails,
    OutputDetails,
    ReasoningOutput,
    ResponseAnswer,
    ResponseFailure,
    ResponseUsage,
)
from beamhouse.schemas.openai.responses import ResponsesRequest
from beamhouse.schemas.words import FinishType
from beamhouse.server.answering.answer_json import encode_json, json_response
from beamhouse.server.answering.run import Run
from beamhouse.server.conversation.reader import TurnReader
from beamhouse.server.doors.openai.response_items import ItemEvent, Items
from beamhouse.server.doors.openai.telling import Gained, Telling
from beamhouse.server.edge.event_stream import as_event

CUT = {FinishType.LENGTH: "max_output_tokens", FinishType.TIME: "max_output_tokens"}
"""Why a turn broke off; the API has one word for all limits."""
CODES = {429: "rate_limit_exceeded"}


@dataclass(slots=True)
class ResponseSpeaker:
    """Says the one turn of a run. reader: tells its text, its thoughts and its calls apart.

    Log-probabilities of a search come whole with the end of the text.
    """

    run: Run
    body: ResponsesRequest
    reader: TurnReader
    told: Telling = field(init=False)
    response: ResponseAnswer = field(init=False)
    _items: Items = field(init=False)
    _number: int = 0

    def __post_init__(self) -> None:
        self.told = Telling("resp_", self.run, self.body)
        self._items = Items(self.run.accepted.id_with(""))
        self.response = response_of(self.body, self.told)

    def begin(self) -> bytes:
        return self._written([("created", self._state()), ("in_progress", self._state())])

    def say(self, event: TokenEvent | TokensEvent | ProgressEvent) -> bytes:
        if isinstance(event, ProgressEvent):
            return self._written([("progress", {"progress": event})])
        return self._written(self._tell(event, self._is_late))

    def end(self, answer: Answer) -> bytes:
        said = self._written(self._finish(self._is_late))
        self._conclude(answer)
        return said + self._written([(self.response.status, self._state())])

    def fail(self, problem: ProblemJson) -> bytes:
        """The response with what was said until then."""
        self.response.status = "failed"
        self.response.error = ResponseFailure(CODES.get(problem.status, "server_error"), problem.detail)
        self.response.output = self._items.output
        return self._written([("failed", self._state())])

    def whole(self, answer: Answer) -> Response:
        for event in self.run.retold():
            self._tell(event, False)
        self._finish(False)
        self._conclude(answer)
        return json_response(self.response)

    @property
    def _is_late(self) -> bool:
        """Whether log-probabilities are known only at the end."""
        return self.run.accepted.config.mode.spec.is_search

    def _tell(self, event: TokenEvent | TokensEvent, is_late: bool) -> list[ItemEvent]:
        gained = Gained.of(event)
        logprobs = [] if is_late else self._logprobs(gained)
        return list(self._items.tell(self.reader.push(gained.text), logprobs))

    def _finish(self, is_late: bool) -> list[ItemEvent]:
        logprobs = self._logprobs(Gained.of(self.run.retold()[0])) if is_late else []
        return [*self._items.tell(self.reader.finish(), logprobs), *self._items.finish(self._cut is not None)]

    def _logprobs(self, gained: Gained) -> Sequence[ChatToken]:
        return self.told.names.likelihoods(gained) if self.body.wants_logprobs and gained.token_ids else []

    @property
    def _cut(self) -> str | None:
        return CUT.get(self.run.rows[0].finish_reason.type)

    def _conclude(self, answer: Answer) -> None:
        """What is known at the end."""
        response, cut = self.response, self._cut
        response.status = "completed" if cut is None else "incomplete"
        response.incomplete_details = None if cut is None else IncompleteDetails(cut)
        response.completed_at = None if cut is not None else int(time.time())
        response.output = self._items.output
        response.usage = self._usage(answer)
        response.warnings, response.native = self.told.warnings(answer), self.told.native(answer)

    def _usage(self, answer: Answer) -> ResponseUsage:
        usage, text = answer.usage, self.run.model.text
        thoughts = [item.content[0].text for item in self._items.output if isinstance(item, ReasoningOutput)]
        encoded = text.encode(thoughts, False) if text is not None and thoughts else []
        return ResponseUsage(
            usage.prompt_tokens,
            InputDetails(usage.cached_prompt_tokens),
            usage.generated_tokens,
            OutputDetails(sum(map(len, encoded))),
            usage.prompt_tokens + usage.generated_tokens,
        )

    def _state(self) -> dict[str, Any]:
        return {"response": deepcopy(self.response)}

    def _written(self, events: Iterable[ItemEvent]) -> bytes:
        """Events as they are sent, numbered."""
        said = b""
        for name, fields in events:
            kind = f"response.{name}"
            numbered = {"type": kind, "sequence_number": self._number, **fields}
            said += as_event(kind.encode(), encode_json(numbered))
            self._number += 1
        return said


def response_of(body: ResponsesRequest, told: Telling) -> ResponseAnswer:
    """A response of which nothing was said yet."""
    given = body.model_dump(mode="json", exclude_none=True, by_alias=True)
    echoed = {name: given[name] for name in ECHOED if name in given}
    return ResponseAnswer(
        id=told.id,
        created_at=told.created,
        model=told.model,
        **{"temperature": 1.0, "top_p": 1.0, "text": {"format": {"type": "text"}}, **echoed},
    )


ECHOED = frozenset(ResponseAnswer.__struct_fields__) - {"model", "background", "store", "truncation", "service_tier"}
"""What is told back as it was given."""
