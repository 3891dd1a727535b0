"""What answers and chunks of OpenAI's protocol have in common: how tokens, usage and ends are told."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import msgspec
from msgspec import UNSET, UnsetType

from beamhouse.engine.link.messages import TopToken
from beamhouse.engine.text.tokenizer import Text
from beamhouse.schemas.beamhouse.answers import Answer
from beamhouse.schemas.beamhouse.events import TokenEvent, TokensEvent, TopTokenEvent
from beamhouse.schemas.openai.answers import (
    LOWEST,
    ChatToken,
    CompletionDetails,
    PromptDetails,
    PromptLogprobs,
    PromptToken,
    TokenLikelihood,
    Usage,
)
from beamhouse.schemas.openai.sampling import SamplingFields
from beamhouse.schemas.words import FinishType
from beamhouse.server.answering.answer import OutputRow
from beamhouse.server.answering.run import Run
from beamhouse.server.answering.tensors import read_likely
from beamhouse.server.version import version

REASONS = {
    FinishType.EOS_TOKEN: "stop",
    FinishType.STOP_STRING: "stop",
    FinishType.STOPPING_CRITERION: "stop",
    FinishType.LENGTH: "length",
    FinishType.TIME: "length",
    FinishType.ERROR: "error",
}


@dataclass(slots=True)
class Gained:
    """What a choice gained, whether it came as one token or as several."""

    sequence: int
    token_ids: list[int]
    text: str
    scores: Sequence[float | None]
    top_tokens: Sequence[Sequence[TopTokenEvent]]

    @classmethod
    def of(cls, event: TokenEvent | TokensEvent) -> "Gained":
        text = event.text or ""
        if isinstance(event, TokensEvent):
            return cls(event.sequence, event.token_ids, text, event.scores or (), event.top_tokens or ())
        tops = () if event.top_tokens is None else (event.top_tokens,)
        return cls(event.sequence, [event.token_id], text, (event.score,), tops)


@dataclass(frozen=True, slots=True)
class TokenNames:
    """How tokens are called in log-probabilities. as_ids: by their numbers, as a model without a tokenizer needs."""

    text: Text | None
    as_ids: bool

    def name(self, token_id: int) -> str:
        if self.as_ids or self.text is None:
            return f"token_id:{token_id}"
        return self.text.token_text(token_id)

    def bytes_of(self, token_id: int) -> list[int]:
        """Of the token's own text, which may be a part of a character."""
        return [] if self.text is None else list(self.text.token_bytes_of(token_id))

    def likelihoods(self, gained: Gained) -> list[ChatToken]:
        """Of what was gained each token, and the likeliest ones in its place."""
        tops = gained.top_tokens
        return [
            ChatToken(
                self.name(token_id),
                finite(score),
                self.bytes_of(token_id),
                [
                    TokenLikelihood(self.name(top.token_id), finite(top.logprob), self.bytes_of(top.token_id))
                    for top in (tops[place] if tops else ())
                ],
            )
            for place, (token_id, score) in enumerate(zip(gained.token_ids, gained.scores, strict=True))
        ]


@dataclass(slots=True)
class Telling:
    """One answer as far as all of the protocol's answers are alike. prefix: of its id.

    width: rows of each prompt, all that are drawn. ended: the choices whose end was told.
    """

    prefix: str
    run: Run
    body: SamplingFields
    id: str = field(init=False)
    created: int = field(init=False)
    model: str = field(init=False)
    system_fingerprint: str = field(init=False)
    names: TokenNames = field(init=False)
    width: int = field(init=False)
    ended: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        accepted, model = self.run.accepted, self.run.model
        self.id = accepted.id_with(self.prefix)
        self.created = int(time.time())
        self.model = accepted.model_name
        self.system_fingerprint = fingerprint(self.run)
        self.names = TokenNames(model.text, bool(self.body.return_tokens_as_token_ids))
        self.width = accepted.num_rows * accepted.num_copies

    @property
    def num_prompts(self) -> int:
        return len(self.run.accepted.submissions) // self.run.accepted.num_copies

    @property
    def has_usage(self) -> bool:
        """Whether the stream ends with the usage."""
        options = self.body.stream_options
        return options is not None and bool(options.include_usage or options.continuous_usage_stats)

    def usage_so_far(self) -> Usage | UnsetType | None:
        """What a chunk before the last says of it."""
        options = self.body.stream_options
        if options is None or not options.continuous_usage_stats:
            return None if self.has_usage else UNSET
        num_prompt, num_new = self.run.accepted.num_prompt_tokens, sum(row.num_tokens for row in self.run.rows)
        return Usage(num_prompt, num_new, num_prompt + num_new)

    def token_ids(self, gained: Gained) -> list[int] | UnsetType:
        return gained.token_ids if self.body.return_token_ids else UNSET

    def prompt_ids(self, prompt: int) -> list[int]:
        return self.run.accepted.submissions[prompt * self.run.accepted.num_copies].prompt_ids

    def told_prompt_ids(self, prompt: int) -> list[int] | UnsetType:
        return self.prompt_ids(prompt) if self.body.return_token_ids else UNSET

    def prompt_tops(self, prompt: int) -> list[list[TopToken] | None]:
        """The likeliest tokens at each position of a prompt; empty where they were not asked for."""
        told = self.run.prompt_top_tokens[:: self.run.accepted.num_copies]
        return list(read_likely(told[prompt])) if told else []

    def prompt_logprobs(self, answer: Answer, prompt: int) -> PromptLogprobs | UnsetType:
        """By position what the token of the prompt is, and the likeliest in its place."""
        if self.body.prompt_logprobs is None:
            return UNSET
        logprobs, tops, told = (answer.prompt_logprobs or [])[prompt], self.prompt_tops(prompt), PromptLogprobs()
        for position, token_id in enumerate(self.prompt_ids(prompt)):
            if not position:
                told.append(None)
                continue
            own = PromptToken(finite(logprobs[position]), None, self.names.name(token_id))
            ranked = {
                str(top.token_id): PromptToken(finite(top.logprob), rank, self.names.name(top.token_id))
                for rank, top in enumerate((tops[position] if tops else None) or (), 1)
            }
            told.append({str(token_id): own} | ranked)
        return told

    def is_ended(self, event: TokenEvent | TokensEvent) -> bool:
        """Whether the end of the choice is to be told after this."""
        if not self.run.is_last(event):
            return False
        self.ended.add(event.sequence)
        return True

    def unended(self) -> list[OutputRow]:
        """The choices whose end nobody was told yet."""
        return [row for row in self.run.rows if row.index not in self.ended]

    def reason(self, row: OutputRow) -> str:
        """Why a choice ended."""
        return REASONS[row.finish_reason.type]

    def stop_reason(self, row: OutputRow) -> int | str | None:
        """What ended a choice, unless it was one of the model's own end tokens."""
        reason = row.finish_reason
        if reason.token_id is not None:
            return reason.token_id if reason.token_id in (self.body.stop_token_ids or ()) else None
        return reason.stop_string or reason.name

    def told_rows(self) -> list[OutputRow]:
        """Of all that was drawn for each prompt as many as were asked for, the likeliest by their mean first."""
        if self.body.best_of is None or self.run.accepted.config.mode.spec.is_search:
            return self.run.rows
        number, rows = wanted_of(self.body), self.run.rows
        of_prompts = (rows[start : start + self.width] for start in range(0, len(rows), self.width))
        return [
            row for drawn in of_prompts for row in sorted(drawn, key=attrgetter("mean_logprob"), reverse=True)[:number]
        ]

    def warnings(self, answer: Answer) -> list[str] | UnsetType:
        return answer.warnings or UNSET

    def native(self, answer: Answer) -> msgspec.Raw | UnsetType:
        """What the request asked for by `outputs`, for which the protocol has no word."""
        return self.run.native(answer, self.body.outputs)


def wanted_of(body: SamplingFields) -> int:
    """Choices for each prompt, by whatever name they were asked for."""
    within = body.generation_config.num_return_sequences if body.generation_config is not None else None
    return next((number for number in (body.n, body.num_return_sequences, within) if number is not None), 1)


def fingerprint(run: Run) -> str:
    """The same for as long as the same version serves the same model."""
    info = run.model.info
    served = f"{version()} {info.model_id} {info.revision} {info.dtype} {info.device}"
    return f"fp_{hashlib.sha256(served.encode()).hexdigest()[:12]}"


def finite(logprob: float | None) -> float:
    """A log-probability as the API writes it; None stands for minus infinity."""
    return LOWEST if logprob is None else max(logprob, LOWEST)


def usage_of(answer: Answer) -> Usage:
    usage = answer.usage
    return Usage(
        usage.prompt_tokens,
        usage.generated_tokens,
        usage.prompt_tokens + usage.generated_tokens,
        PromptDetails(usage.cached_prompt_tokens),
        CompletionDetails(usage.accepted_tokens, usage.drafted_tokens - usage.accepted_tokens),
    )
