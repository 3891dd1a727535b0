"""A request while it runs, and the sequences it owns."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

import torch

from beamhouse.engine.link.errors import RequestFailed
from beamhouse.engine.link.messages import Submission, Tokens
from beamhouse.engine.state.memory import Memory
from beamhouse.schemas.generation.resolved import Resolved


@dataclass(eq=False, slots=True)
class Sequence:
    """One list of tokens and its place in the cache.

    token_ids: prompt, then chosen tokens. draft_ids: proposed tokens, fed behind the known ones to be checked; they go
    when the step is settled. num_cached: leading tokens whose keys and values are cached, drafts included until then.
    block_ids: the cache blocks that hold them, in order, its block table. digests: of the first full blocks of
    `token_ids`, as far as they were asked for. Only the cache writes these two. memory: what modes and processors
    remember of it from step to step; a fork shares the values, so they are replaced, never changed in place. shadow:
    the same generated tokens after the negative prompt, for guidance; it grows, forks and ends with its sequence.
    num_masked: positions before the first token that nothing attends to. renewed_at: the length from which all its
    positions are turned otherwise, so that it is computed anew; 0 for none.
    """

    token_ids: list[int]
    num_prompt: int
    index: int = 0
    draft_ids: list[int] = field(default_factory=list)
    num_cached: int = 0
    block_ids: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)
    shadow: "Sequence | None" = None
    num_masked: int = 0
    renewed_at: int = 0

    @property
    def num_at_once(self) -> int:
        """Positions, masked ones included, that count as computed in one call: the prompt, or all up to `renewed_at`.

        The library computes each later one in a call of its own.
        """
        if 0 < self.renewed_at <= self.num_masked + len(self.token_ids):
            return max(self.num_masked + self.num_prompt, self.renewed_at)
        return self.num_masked + self.num_prompt

    @property
    def num_generated(self) -> int:
        return len(self.token_ids) - self.num_prompt

    @property
    def num_missing(self) -> int:
        """Tokens known but not cached."""
        return len(self.token_ids) - self.num_cached

    @property
    def num_to_feed(self) -> int:
        """Tokens that the next step has to feed before anything can be chosen."""
        return len(self.token_ids) + len(self.draft_ids) - self.num_cached

    @property
    def generated_ids(self) -> Seq[int]:
        return self.token_ids[self.num_prompt :]

    @property
    def with_shadow(self) -> "tuple[Sequence, ...]":
        return (self,) if self.shadow is None else (self, self.shadow)

    def fork(self) -> "Sequence":
        """Another sequence with the same tokens, which remembers the same; nothing of it is cached, and no shadow."""
        return Sequence(
            list(self.token_ids),
            self.num_prompt,
            self.index,
            memory=self.memory.fork(),
            num_masked=self.num_masked,
            renewed_at=self.renewed_at,
        )

    def ahead(self, token_ids: list[int]) -> "Sequence":
        """What it would be with these tokens behind its own: to be scored, not to be fed."""
        view = self.fork()
        view.token_ids += token_ids
        return view

    def learn(self, view: "Sequence") -> None:
        """Keep what was remembered of a look ahead; its tokens are those that this sequence gets."""
        self.memory = view.memory


@dataclass(eq=False, slots=True)
class Request:
    """What a client asked for. generator: the only source of its random numbers.

    config: what the submission asks, at hand. sequences: the live rows. outputs: what is returned of each sequence, as
    far as it is known; of a streamed request only the tokens, the rest is told already. layers: those
    whose hidden states its mode reads at the newest position, or with `reads_every_position` at all of them; 0 is the
    embedding, -1 the last layer behind its norm. memory: what its mode, processors and criteria keep for it (beams,
    bias tables, tries, matchers). num_matched: tokens found in the cache before the first one was generated, negative
    prompts and all rows included; num_prompt_matched: those of the prompt alone. num_drafted, num_accepted: tokens
    proposed, and those of them the model confirmed. failure: why it cannot go on, as `fail` was told. ends: the end
    tokens, to look one up.
    All times are `time.monotonic()` seconds.
    """

    submission: Submission
    config: Resolved = field(init=False)
    generator: torch.Generator
    sequences: list[Sequence]
    outputs: list[Tokens]
    arrived_at: float
    layers: tuple[int, ...] = ()
    reads_every_position: bool = False
    memory: Memory = field(default_factory=Memory)
    num_drafted: int = 0
    num_accepted: int = 0
    warnings: list[str] = field(default_factory=list)
    failure: RequestFailed | None = None
    started_at: float | None = None
    num_matched: int = 0
    num_prompt_matched: int = 0
    first_token_at: float | None = None
    ends: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        self.config = self.submission.config
        self.ends = frozenset(self.config.eos_token_ids)

    @property
    def id(self) -> str:
        return self.submission.request_id

    def warn(self, text: str) -> None:
        """Tell with the last message of the request; the first of these texts is enough."""
        if not self.warnings:
            self.warnings.append(text)

    def read_hidden(self, layers: tuple[int, ...], *, at_every_position: bool = False) -> None:
        """Let its passes show hidden states of these layers, at the newest position or at every one that is fed."""
        self.layers, self.reads_every_position = layers, at_every_position

    def fail(self, why: str) -> None:
        """Let it end with this step, whatever is chosen for it, and nobody else; the first reason stays."""
        if self.failure is None:
            self.failure = RequestFailed(why)

    @property
    def num_prompt(self) -> int:
        return len(self.submission.prompt_ids)

    @property
    def is_decoding(self) -> bool:
        """Whether it lacks only the newest token of each sequence; else it is still fed a prompt, or fed anew."""
        return all(sequence.num_missing == 1 for sequence in self.fed_sequences)

    @property
    def reuses_prefixes(self) -> bool:
        """Whether cached blocks may stand for its first tokens: not where something is read at all of them."""
        return not (self.submission.wanted.reads_prompt or self.reads_every_position)

    @property
    def num_score_rows(self) -> int:
        """Rows of scores at each position: the beams, or else the sequences returned."""
        return max(self.config.num_beams, self.config.num_return_sequences)

    @property
    def fed_sequences(self) -> list[Sequence]:
        """Everything that goes through the model for this request: the rows and their shadows."""
        return [one for sequence in self.sequences for one in sequence.with_shadow]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One row of scores: the sequence it continues and the request that owns it.

    unconditional: the shadow's logits after the same tokens, (V,) float32, where the request is guided. taken: the
    tokens that earlier groups of a diverse beam search took in this step.
    """

    request: Request
    sequence: Sequence
    unconditional: torch.Tensor | None = None
    taken: tuple[int, ...] = ()
