"""Collects what the engine says about a request: events while it runs, the answer when it is over."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from beamhouse.engine.link.messages import Finished, FinishReason, HypothesisUpdate, Timings, Tokens, TopToken
from beamhouse.engine.text.tokenizer import Text
from beamhouse.schemas.beamhouse.answers import Answer, FinishReasonAnswer, SequenceAnswer, TimingsAnswer, Usage
from beamhouse.schemas.beamhouse.events import HypothesisEvent, ProgressEvent, TokenEvent, TokensEvent, TopTokenEvent
from beamhouse.schemas.words import FinishType
from beamhouse.server.answering.showing import ShownText, live_text, open_text, rest_of
from beamhouse.server.asking.translate import AcceptedRequest
from beamhouse.server.asking.translated import in_given_words


@dataclass(slots=True)
class OutputRow:
    """One sequence of the answer while it grows. gained: all its tokens so far. pieces: their text, None without."""

    prompt_index: int
    index: int
    gained: Tokens
    text_stream: ShownText | None
    pieces: list[str] = field(default_factory=list)

    @property
    def num_tokens(self) -> int:
        return len(self.gained.token_ids)

    @property
    def top_tokens(self) -> list[list[TopToken]]:
        ranking = self.gained.ranking
        return self.gained.top_tokens if ranking is None else ranking.top_tokens

    def add(self, tokens: Tokens) -> str | None:
        """Take what came. Returns the text that it adds, None without a tokenizer."""
        self.gained.extend(tokens)
        if self.text_stream is None:
            return None
        piece = self.text_stream.push(tokens.token_ids)
        if tokens.finish_reason is not None:
            piece += rest_of(self.text_stream, tokens.finish_reason)
        self.pieces.append(piece)
        return piece

    def say(self, tokens: Tokens, text: Text | None) -> TokenEvent | TokensEvent | None:
        """Take what came and say it as an event; None when there is nothing to say."""
        first = self.num_tokens
        piece = self.add(tokens)
        if not tokens.token_ids and not piece:
            return None
        top_tokens = say_top_tokens(tokens.top_tokens, text)
        if len(tokens.token_ids) == 1:
            return TokenEvent(
                sequence=self.index,
                index=first,
                token_id=tokens.token_ids[0],
                text=piece,
                score=tokens.scores[0] if tokens.scores else None,
                top_tokens=top_tokens[0] if top_tokens else None,
            )
        return TokensEvent(
            sequence=self.index,
            index=first,
            token_ids=tokens.token_ids,
            text=piece,
            scores=tokens.scores or None,
            top_tokens=top_tokens or None,
        )

    @property
    def scores(self) -> list[float | None]:
        """Of all tokens. What was told of a hypothesis on the way has none: they are those of the whole, at its end."""
        ranking = self.gained.ranking
        return self.gained.scores if ranking is None else ranking.scores

    @property
    def mean_logprob(self) -> float:
        """Of all tokens; minus infinity where one could not be chosen at all, and where there is none."""
        scores = [-inf if score is None else score for score in self.scores]
        return sum(scores) / len(scores) if scores else -inf

    @property
    def finish_reason(self) -> FinishReason:
        """Why it ended; once all is over, what has no reason did not end as it should."""
        return self.gained.finish_reason or FinishReason(FinishType.ERROR)

    def retold(self, text: Text | None) -> TokensEvent:
        """All of it as one event."""
        return TokensEvent(
            sequence=self.index,
            index=0,
            token_ids=self.gained.token_ids,
            text=None if self.text_stream is None else "".join(self.pieces),
            scores=self.scores or None,
            top_tokens=say_top_tokens(self.top_tokens, text) or None,
        )

    def answer(self, accepted: AcceptedRequest) -> SequenceAnswer:
        gained, ranking = self.gained, self.gained.ranking
        return SequenceAnswer(
            prompt_index=self.prompt_index,
            index=self.index,
            text=None if self.text_stream is None else "".join(self.pieces),
            token_ids=gained.token_ids,
            num_tokens=self.num_tokens,
            finish_reason=FinishReasonAnswer.model_validate(self.finish_reason),
            score=None if ranking is None else ranking.score,
            beam_indices=None if ranking is None else ranking.beam_indices,
            transition_scores=self.scores if accepted.outputs.transition_scores else None,
        )


def say_top_tokens(positions: Sequence[Sequence[TopToken]], text: Text | None) -> list[list[TopTokenEvent]]:
    """The likeliest tokens of each position, with their text if there is a tokenizer."""
    return [
        [
            TopTokenEvent(
                token_id=top.token_id,
                text=text.token_text(top.token_id) if text is not None else None,
                logprob=top.logprob,
            )
            for top in tops
        ]
        for tops in positions
    ]


def say_progress(
    accepted: AcceptedRequest, place: int, hypotheses: Sequence[HypothesisUpdate], text: Text | None
) -> ProgressEvent:
    """How a beam search stands, in words. place: of its submission."""
    return ProgressEvent(
        prompt_index=place // accepted.num_copies,
        hypotheses=[
            HypothesisEvent(
                text=None if text is None else live_text(accepted, text, place, hypothesis.token_ids),
                token_ids=hypothesis.token_ids,
                score=hypothesis.score,
            )
            for hypothesis in hypotheses
        ],
    )


def make_rows(accepted: AcceptedRequest, text: Text | None) -> list[OutputRow]:
    """The empty rows of an answer, those of one prompt adjacent."""
    return [
        OutputRow(
            prompt_index=prompt // accepted.num_copies,
            index=prompt * accepted.num_rows + row,
            gained=Tokens(row),
            text_stream=None if text is None else open_text(accepted, text, prompt),
        )
        for prompt in range(len(accepted.submissions))
        for row in range(accepted.num_rows)
    ]


def make_answer(accepted: AcceptedRequest, rows: Sequence[OutputRow], finished: Sequence[Finished]) -> Answer:
    """The answer without its tensors and likeliest tokens. finished: the last message of each prompt, in order."""
    warnings = [*accepted.warnings, *(text for message in finished for text in message.warnings)]
    has_logprobs, by_prompt = accepted.outputs.prompt_logprobs, finished[:: accepted.num_copies]
    return Answer(
        id=accepted.id,
        model=accepted.model_name,
        mode=accepted.config.mode,
        generated_text="".join(rows[0].pieces) if rows[0].text_stream is not None else None,
        sequences=[row.answer(accepted) for row in rows],
        usage=Usage(
            prompt_tokens=accepted.num_prompt_tokens,
            generated_tokens=sum(row.num_tokens for row in rows),
            cached_prompt_tokens=sum(message.cached_prompt_tokens for message in by_prompt),
            drafted_tokens=sum(message.drafted_tokens for message in finished),
            accepted_tokens=sum(message.accepted_tokens for message in finished),
        ),
        timings=slowest([message.timings for message in finished if message.timings is not None]),
        warnings=[in_given_words(text, accepted.given_names) for text in dict.fromkeys(warnings)],
        prompt_logprobs=[message.prompt_logprobs for message in by_prompt] if has_logprobs else None,
        generation_config=None if accepted.shown_config is None else accepted.shown_config.to_dict(),
    )


def slowest(timings: Sequence[Timings]) -> TimingsAnswer:
    """The longest of each duration over all prompts."""
    longest = {name: max((getattr(item, name) for item in timings), default=0.0) for name in TimingsAnswer.model_fields}
    return TimingsAnswer(**longest)
