"""How a run is said as a completion: whole, or as the chunks of a stream."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import Response
from msgspec import UNSET

from beamhouse.engine.link.messages import TopToken
from beamhouse.engine.text.text_stream import TextStream
from beamhouse.schemas.beamhouse.answers import Answer
from beamhouse.schemas.beamhouse.events import ProgressEvent, TokenEvent, TokensEvent, TopTokenEvent
from beamhouse.schemas.beamhouse.problem_json import ProblemJson
from beamhouse.schemas.openai.answers import Completion, CompletionChoice, CompletionLogprobs
from beamhouse.schemas.openai.completions import CompletionRequest
from beamhouse.server.answering.answer import OutputRow
from beamhouse.server.answering.answer_json import encode_json, json_response
from beamhouse.server.answering.run import Run
from beamhouse.server.answering.showing import skips_special_tokens
from beamhouse.server.doors.openai.dialect import DONE, failure
from beamhouse.server.doors.openai.telling import Gained, Telling, finite, usage_of
from beamhouse.server.edge.event_stream import as_data

Tops = Sequence[Sequence[TopTokenEvent | TopToken] | None]


@dataclass(slots=True)
class Offsets:
    """Where tokens begin in a text, as they come. shown: decodes them, None without a tokenizer. at: the next place.

    Tokens that make up one character together begin in one place.
    """

    shown: TextStream | None
    at: int = 0

    def of(self, token_ids: Sequence[int]) -> list[int]:
        offsets = []
        for token_id in token_ids:
            offsets.append(self.at)
            self.at += 0 if self.shown is None else len(self.shown.push([token_id]))
        return offsets


@dataclass(slots=True)
class CompletionSpeaker:
    """Says choices as they grow, and the end of each in a chunk of its own.

    Log-probabilities that are known only at the end, those of a search and of a prompt, come whole with it.
    """

    run: Run
    body: CompletionRequest
    told: Telling = field(init=False)
    is_late: bool = field(init=False)
    _offsets: dict[int, Offsets] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.told = Telling("cmpl-", self.run, self.body)
        is_search = self.run.accepted.config.mode.spec.is_search
        self.is_late = self.body.logprobs is not None and (bool(self.body.echo) or is_search)

    def begin(self) -> bytes:
        """The prompts, if they are to be echoed or their ids told."""
        if not self.body.echo and not self.body.return_token_ids:
            return b""
        return b"".join(
            self._chunk(CompletionChoice(index, prompt_token_ids=self.told.told_prompt_ids(prompt), text=text))
            for prompt, text in enumerate(map(self._echoed, range(self.told.num_prompts)))
            for index in range(prompt * self.told.width, (prompt + 1) * self.told.width)
        )

    def say(self, event: TokenEvent | TokensEvent | ProgressEvent) -> bytes:
        if isinstance(event, ProgressEvent):
            return self._written(progress=event)
        gained = Gained.of(event)
        choice, said = self._piece(gained), b""
        if choice.text or choice.logprobs is not None or choice.token_ids is not UNSET:
            said = self._chunk(choice)
        waits = self.is_late or self.body.prompt_logprobs is not None
        if not waits and self.told.is_ended(event):
            said += self._chunk(self._ending(self.run.rows[gained.sequence]))
        return said

    def end(self, answer: Answer) -> bytes:
        said = b""
        for row in self.told.unended():
            choice = self._ending(row)
            choice.prompt_logprobs = self.told.prompt_logprobs(answer, row.prompt_index)
            choice.logprobs = self._late_logprobs(answer, row)
            said += self._chunk(choice)
        warnings, native = self.told.warnings(answer), self.told.native(answer)
        if self.told.has_usage or warnings is not UNSET or native is not UNSET:
            usage = usage_of(answer) if self.told.has_usage else UNSET
            said += self._written(usage=usage, warnings=warnings, native=native)
        return said + DONE

    def fail(self, problem: ProblemJson) -> bytes:
        return failure(problem)

    def whole(self, answer: Answer) -> Response:
        choices = []
        for index, row in enumerate(self.told.told_rows()):
            choice = self._piece(Gained.of(row.retold(self.run.model.text)))
            choice.index = index
            choice.text = self._echoed(row.prompt_index) + choice.text
            choice.prompt_token_ids = self.told.told_prompt_ids(row.prompt_index)
            choice.prompt_logprobs = self.told.prompt_logprobs(answer, row.prompt_index)
            choice.logprobs = self._late_logprobs(answer, row) or choice.logprobs
            choice.finish_reason, choice.stop_reason = self.told.reason(row), self.told.stop_reason(row)
            choices.append(choice)
        content = self._completion(
            choices, usage=usage_of(answer), warnings=self.told.warnings(answer), native=self.told.native(answer)
        )
        return json_response(content)

    def _completion(self, choices: list[CompletionChoice], **more: Any) -> Completion:
        told = self.told
        return Completion(told.id, told.created, told.model, told.system_fingerprint, choices, **more)

    def _written(self, **more: Any) -> bytes:
        """A chunk without a choice."""
        return as_data(encode_json(self._completion([], **more)))

    def _chunk(self, choice: CompletionChoice) -> bytes:
        return as_data(encode_json(self._completion([choice], usage=self.told.usage_so_far())))

    def _piece(self, gained: Gained) -> CompletionChoice:
        """What a choice gained. The end of its text is not told yet."""
        choice = CompletionChoice(gained.sequence, gained.text, token_ids=self.told.token_ids(gained))
        if self.body.logprobs is not None and gained.token_ids and not self.is_late:
            if gained.sequence not in self._offsets:
                self._offsets[gained.sequence] = self._begin(0)
            offsets = self._offsets[gained.sequence]
            choice.logprobs = self._logprobs(offsets, gained.token_ids, gained.scores, gained.top_tokens)
        return choice

    def _ending(self, row: OutputRow) -> CompletionChoice:
        choice = CompletionChoice(
            row.index, "", finish_reason=self.told.reason(row), stop_reason=self.told.stop_reason(row)
        )
        if self.body.return_token_ids and not row.num_tokens:
            choice.token_ids = []
        return choice

    def _logprobs(
        self, offsets: Offsets, token_ids: list[int], scores: Sequence[float | None], tops: Tops
    ) -> CompletionLogprobs:
        """Those of tokens behind all that `offsets` were told of."""
        tokens = [self.told.names.name(token_id) for token_id in token_ids]
        logprobs = [finite(score) for score in scores]
        likeliest: list[dict[str, float] | None] = [
            self._likeliest(token, logprob, tops[place] if tops else None)
            for place, (token, logprob) in enumerate(zip(tokens, logprobs, strict=True))
        ]
        return CompletionLogprobs(tokens, [*logprobs], likeliest, offsets.of(token_ids))

    def _begin(self, at: int) -> Offsets:
        """A text that begins there."""
        text = self.run.model.text
        return Offsets(None if text is None else text.stream(skips_special_tokens(self.run.accepted)), at)

    def _likeliest(
        self, token: str, logprob: float, tops: Sequence[TopTokenEvent | TopToken] | None
    ) -> dict[str, float]:
        """By name, the token itself among them; of tokens with one name the likeliest counts."""
        told: dict[str, float] = {}
        for top in tops or ():
            told.setdefault(self.told.names.name(top.token_id), finite(top.logprob))
        told[token] = max(logprob, told.get(token, logprob))
        return told

    def _late_logprobs(self, answer: Answer, row: OutputRow) -> CompletionLogprobs | None:
        """Of the whole choice, the prompt included where that is echoed; None where they were told before."""
        if not self.is_late:
            return None
        told = CompletionLogprobs([], [], [], [])
        if self.body.echo:
            prompt = row.prompt_index
            logprobs, prompt_ids = (answer.prompt_logprobs or [])[prompt], self.told.prompt_ids(prompt)
            told = self._logprobs(self._begin(0), prompt_ids, logprobs, self.told.prompt_tops(prompt))
            # Nothing precedes the first token.
            told.token_logprobs[:1], told.top_logprobs[:1] = [None], [None]
        retold = Gained.of(row.retold(self.run.model.text))
        offsets = self._begin(len(self._echoed(row.prompt_index)))
        behind = self._logprobs(offsets, retold.token_ids, retold.scores, retold.top_tokens)
        told.tokens += behind.tokens
        told.token_logprobs += behind.token_logprobs
        told.top_logprobs += behind.top_logprobs
        told.text_offset += behind.text_offset
        return told

    def _echoed(self, prompt: int) -> str:
        """A prompt as text, as it was given if it was given so."""
        if not self.body.echo:
            return ""
        given, text = self.body.prompt, self.run.model.text
        listed = given if isinstance(given, list) else [given]
        as_given = listed[prompt] if prompt < len(listed) else None
        if isinstance(as_given, str) and self.body.truncate_prompt_tokens is None:
            return as_given
        return "" if text is None else text.decode(self.told.prompt_ids(prompt))
