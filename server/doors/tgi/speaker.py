"""How TGI's protocol says a run: an event for each token, and the same tokens in the details of a plain answer."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter

import msgspec
from fastapi import Response
from msgspec import UNSET, UnsetType, structs

from beamhouse.engine.link.messages import Submission
from beamhouse.engine.text.tokenizer import Text
from beamhouse.schemas.beamhouse.answers import Answer
from beamhouse.schemas.beamhouse.events import ProgressEvent, TokenEvent, TokensEvent, TopTokenEvent
from beamhouse.schemas.beamhouse.problem_json import ProblemJson
from beamhouse.schemas.tgi.answers import Generation, PrefillToken, Sequence, StreamDetails, StreamEvent, Token
from beamhouse.schemas.tgi.requests import Parameters, TgiRequest
from beamhouse.schemas.words import FinishType
from beamhouse.server.answering.answer import OutputRow
from beamhouse.server.answering.answer_json import encode_json, listed
from beamhouse.server.answering.run import Run
from beamhouse.server.answering.showing import skips_special_tokens
from beamhouse.server.doors.tgi.dialect import tgi_dialect
from beamhouse.server.doors.tgi.token_texts import TokenTexts
from beamhouse.server.doors.tgi.translation import NOTHING
from beamhouse.server.edge.event_stream import as_data

FINISH_REASONS = {
    FinishType.LENGTH: "length",
    FinishType.TIME: "length",
    FinishType.EOS_TOKEN: "eos_token",
    FinishType.STOP_STRING: "stop_sequence",
    FinishType.STOPPING_CRITERION: "stop_sequence",
    FinishType.ERROR: "stop_sequence",
}
"""Its clients know three words: what ends a sequence by a limit, by the model's choice, and by what the client gave."""


@dataclass(slots=True)
class TgiSpeaker:
    """is_full: whether the whole text begins with the prompt. is_listed: whether a plain answer is one of a list."""

    run: Run
    body: TgiRequest
    is_full: bool = False
    is_listed: bool = False
    _texts: dict[int, TokenTexts] = field(default_factory=dict)
    _held: StreamEvent | None = None
    _num_said: int = 0
    _is_search: bool = field(init=False)

    def __post_init__(self) -> None:
        self._is_search = self.run.accepted.config.mode.spec.is_search

    def begin(self) -> bytes:
        return b""

    def say(self, event: TokenEvent | TokensEvent | ProgressEvent) -> bytes:
        """The last event waits for what stands at its end; in a search, the newest might be the last."""
        assert not isinstance(event, ProgressEvent), "progress is refused for streams of this protocol"
        waits = self._is_search or self.run.is_last(event)
        if isinstance(event, TokenEvent) and not waits:  # nearly all of them
            self._num_said += 1
            token = self.token(event.token_id, event.text or "", event.score)
            likeliest = UNSET if event.top_tokens is None else self.likeliest(event.top_tokens)
            return as_data(encode_json(StreamEvent(self._num_said, token, top_tokens=likeliest)))
        tokens, tops = self.tokens_of(event), top_tokens_of(event)
        events = [] if self._held is None else [self._held]
        for place, token in enumerate(tokens):
            self._num_said += 1
            likeliest = self.likeliest(tops[place]) if tops else UNSET
            events.append(StreamEvent(self._num_said, token, top_tokens=likeliest))
        if not tokens and events:
            events[-1] = structs.replace(events[-1], token=with_more(events[-1].token, event.text or ""))
        self._held = events.pop() if waits and events else None
        return b"".join(as_data(encode_json(item)) for item in events)

    def end(self, answer: Answer) -> bytes:
        if self._held is None:
            return b""
        row = self.run.rows[0]
        details = None
        if self.parameters.details:
            details = StreamDetails(finish_reason_of(row), row.num_tokens, self.seed_of(row), self.num_prompt)
        last = structs.replace(
            self._held, generated_text=self.whole_text(row, answer), details=details, native=self.native(answer)
        )
        return as_data(encode_json(last))

    def fail(self, problem: ProblemJson) -> bytes:
        held = b"" if self._held is None else as_data(encode_json(self._held))
        return held + as_data(tgi_dialect(problem).content)

    def whole(self, answer: Answer) -> Response:
        best, *others = self.ranked()
        details: Sequence | UnsetType = UNSET
        if self.parameters.details or self.parameters.decoder_input_details:
            details = self.sequence(best, answer)
            if others:
                losers = [
                    structs.replace(self.sequence(row, answer), generated_text=self.whole_text(row, answer))
                    for row in others
                ]
                details = structs.replace(details, best_of_sequences=losers)
        content = encode_json(Generation(self.whole_text(best, answer), details, self.native(answer)))
        if self.is_listed:
            content = b"[" + content + b"]"
        return Response(content, media_type="application/json", headers=self.headers(best, answer))

    @property
    def parameters(self) -> Parameters:
        return self.body.parameters or NOTHING

    @property
    def text(self) -> Text:
        assert self.run.model.text is not None, "a prompt that is text was tokenised"
        return self.run.model.text

    @property
    def num_prompt(self) -> int:
        return len(self.run.accepted.submissions[0].prompt_ids)

    def tokens_of(self, event: TokenEvent | TokensEvent) -> list[Token]:
        """Each with what it adds to the text."""
        if isinstance(event, TokenEvent):
            return [self.token(event.token_id, event.text or "", event.score)]
        ids, scores = event.token_ids, event.scores or [None] * len(event.token_ids)
        if event.sequence not in self._texts:
            self._texts[event.sequence] = TokenTexts(self.text.stream(skips_special_tokens(self.run.accepted)))
        so_far = self.run.rows[event.sequence].gained.token_ids[: event.index + len(ids)]
        pieces = self._texts[event.sequence].of(event.index, so_far, event.text or "")
        return [self.token(*each) for each in zip(ids, pieces, scores, strict=True)]

    def token(self, token_id: int, piece: str, logprob: float | None) -> Token:
        is_special = not piece and self.text.is_special(token_id)
        return Token(token_id, self.text.token_text(token_id) if is_special else piece, logprob, is_special)

    def likeliest(self, tops: list[TopTokenEvent]) -> list[Token]:
        return [Token(top.token_id, top.text or "", top.logprob, self.text.is_special(top.token_id)) for top in tops]

    def ranked(self) -> list[OutputRow]:
        """The sequences, best first: in the order of the mode; several draws by their mean log-probability."""
        if (self.parameters.best_of or 1) > 1:
            return sorted(self.run.rows, key=attrgetter("mean_logprob"), reverse=True)
        return self.run.rows

    def sequence(self, row: OutputRow, answer: Answer) -> Sequence:
        event = row.retold(self.text)
        tops = top_tokens_of(event)
        return Sequence(
            finish_reason=finish_reason_of(row),
            generated_tokens=row.num_tokens,
            seed=self.seed_of(row),
            prefill=msgspec.Raw(listed(encode_json(token) for token in self.prefill(row, answer))),
            tokens=msgspec.Raw(listed(encode_json(token) for token in self.tokens_of(event))),
            top_tokens=listed(encode_json(self.likeliest(top)) for top in tops) if tops else UNSET,
        )

    def prefill(self, row: OutputRow, answer: Answer) -> Iterator[PrefillToken]:
        """The prompt's tokens, if they were asked for."""
        if not self.parameters.decoder_input_details:
            return
        ids = self.submission_of(row).prompt_ids
        logprobs = (answer.prompt_logprobs or [])[row.prompt_index]
        for token_id, logprob in zip(ids, logprobs, strict=True):
            yield PrefillToken(token_id, self.text.token_text(token_id), logprob)

    def seed_of(self, row: OutputRow) -> int | None:
        """What draws this sequence again."""
        return self.submission_of(row).seed if self.run.accepted.config.do_sample else None

    def submission_of(self, row: OutputRow) -> Submission:
        accepted = self.run.accepted
        return accepted.submissions[row.index // accepted.num_rows]

    def whole_text(self, row: OutputRow, answer: Answer) -> str:
        return (self.body.inputs if self.is_full else "") + (answer.sequences[row.index].text or "")

    def native(self, answer: Answer) -> msgspec.Raw | UnsetType:
        return self.run.native(answer, self.parameters.outputs)

    def headers(self, best: OutputRow, answer: Answer) -> dict[str, str]:
        """What TGI measures: in milliseconds, but for the first, which is in seconds."""
        timings, total_s = answer.timings, self.run.place.age_s
        inference_s = timings.prefill_s + timings.decode_s
        times_s = {
            "x-total-time": total_s,
            "x-validation-time": max(0.0, total_s - timings.total_s),
            "x-queue-time": timings.queue_s,
            "x-inference-time": inference_s,
            "x-time-per-token": inference_s / max(1, best.num_tokens),
        }
        return {
            "x-compute-time": f"{total_s:.6f}",
            **{name: str(int(seconds * 1000)) for name, seconds in times_s.items()},
            "x-prompt-tokens": str(self.num_prompt),
            "x-generated-tokens": str(best.num_tokens),
        }


def top_tokens_of(event: TokenEvent | TokensEvent) -> list[list[TopTokenEvent]]:
    """Of each token; empty if they were not asked for."""
    if isinstance(event, TokensEvent):
        return event.top_tokens or []
    return [] if event.top_tokens is None else [event.top_tokens]


def with_more(token: Token, text: str) -> Token:
    """The token with text that became final behind it."""
    if not text:
        return token
    return structs.replace(token, text=text if token.special else token.text + text, special=False)


def finish_reason_of(row: OutputRow) -> str:
    return FINISH_REASONS[row.finish_reason.type]
