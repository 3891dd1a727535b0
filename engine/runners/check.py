"""Holds a runner against the model it runs."""

import contextlib
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from transformers import PreTrainedModel

from beamhouse.engine.link.errors import ModelUnsupported, in_words
from beamhouse.engine.runners.far import LibraryPast, Stand, stands
from beamhouse.engine.runners.routing import Routing, recording, replaying
from beamhouse.engine.state.batch import Batch, Feed, Forward
from beamhouse.engine.state.block_cache import BlockCache
from beamhouse.engine.state.decoder_config import decoder_config
from beamhouse.engine.state.request import Sequence

ALLOWED = {torch.float32: 1e-3}
"""How far logits may be off, as a share of their size; more in types of two bytes."""
ALLOWED_OF_TWO_BYTES = 6e-2


class Checked(Protocol):
    """What a check needs of a runner."""

    model: PreTrainedModel
    cache: BlockCache

    @property
    def vocab_size(self) -> int: ...
    @property
    def context_len(self) -> int: ...
    @property
    def is_attending(self) -> bool: ...
    def attending(self, implementation: str | None = None) -> AbstractContextManager[None]: ...
    def forward(self, batch: Batch) -> Forward: ...


@torch.inference_mode()
def check(runner: Checked) -> None:
    """Compare packed logits with the model's own. Raises ModelUnsupported where they differ.

    First two sequences from position 0, one of them fed in parts, long enough to cross blocks and, where it is short,
    the window; then a few tokens at half and at the end of the context and past every length the configuration names.
    """
    model = runner.model
    room = runner.cache.num_blocks // 2 * runner.cache.block_size
    if room < 2:
        raise ModelUnsupported(f"the cache has {runner.cache.num_blocks} blocks; two are needed to check a model")
    num_tokens = min(3 * runner.cache.block_size + 3, runner.context_len - 1, room)
    _check_near(runner, _random_tokens(runner, 2, num_tokens))
    block_size, context_len = runner.cache.block_size, runner.context_len
    far = stands(decoder_config(model.config), context_len, block_size)
    # Each in the company of one that stands near: what depends on the farthest of a step must show.
    near = Stand.at(block_size, block_size, context_len)
    needed = 2 + sum(runner.cache.num_blocks_for(stand.num_tokens) for stand in (near, *far[-1:]))
    # A context of less than two blocks, which stand for the past, was seen to its end already.
    if far and context_len >= 2 * block_size and runner.cache.num_blocks >= needed:
        num_fed = sum(near.num_tokens + stand.num_tokens for stand in far)
        _check_far(runner, [(near, stand) for stand in far], _random_tokens(runner, 1, 2 * block_size + num_fed)[0])


def _random_tokens(runner: Checked, num_rows: int, num_tokens: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, runner.vocab_size, (num_rows, num_tokens), generator=generator)


@dataclass(frozen=True, slots=True)
class _Expected:
    """What the model itself says of the last tokens of a sequence. logits: (T, V) float32. routing: of these tokens."""

    logits: torch.Tensor
    routing: Routing

    @classmethod
    def of(cls, num_tokens: int, pass_over: Callable[[], torch.Tensor]) -> "_Expected":
        """pass_over: one pass of the model over so many tokens, (T, V)."""
        with recording(num_tokens) as routing:
            logits = pass_over()
        return cls(logits.float(), routing)


def _check_near(runner: Checked, tokens: torch.Tensor) -> None:
    """tokens: (2, T)."""
    model, whole = runner.model, tokens.shape[1]

    def alone(row: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = model(input_ids=row[None].to(model.device), use_cache=False).logits[0]
        return logits

    with _saying(runner, "does not run alone"), runner.attending():
        expected = [_Expected.of(whole, partial(alone, row)) for row in tokens]
    sequences = [Sequence(row.tolist(), num_prompt=whole) for row in tokens]
    try:
        with _saying(runner, "does not run packed"):
            _feed(runner, sequences, [whole // 2, whole - 1], expected)
            actual = _feed(runner, sequences, [whole, whole], expected)
    finally:
        for sequence in sequences:
            runner.cache.free(sequence)
    if not runner.is_attending:
        raise ModelUnsupported(f"{_kind(runner)} does not attend through the library's attention interface")
    _compare(runner, [rows[-1:] for rows in actual], [one.logits[-1:] for one in expected], "")


def _check_far(runner: Checked, pairs: Seq[tuple[Stand, Stand]], tokens: torch.Tensor) -> None:
    """tokens: (T,) of two blocks, and behind them those of each stand."""
    num_before = 2 * runner.cache.block_size
    before = Sequence(tokens[:num_before].tolist(), num_prompt=num_before)
    runner.cache.reserve(before, num_before)
    try:
        with _saying(runner, "does not run packed"):
            runner.forward(Batch([Feed(before, before.token_ids)], []))
        with _saying(runner, "does not run alone with a cache"), runner.attending():
            past = LibraryPast.of(runner.model, tokens[None, :num_before].to(runner.model.device))
        rows = iter(tokens[num_before:].split([stand.num_tokens for pair in pairs for stand in pair]))
        for pair in pairs:
            _check_stands(runner, pair, [next(rows) for _ in pair], before.block_ids, past)
    finally:
        runner.cache.free(before)


def _check_stands(
    runner: Checked, far: Seq[Stand], tokens: Seq[torch.Tensor], blocks: Seq[int], past: LibraryPast
) -> None:
    """tokens: of each stand (T,). blocks: the two that every past is made of."""
    device = runner.model.device
    with _saying(runner, "does not run alone far out"), runner.attending():
        expected = [
            _Expected.of(stand.num_tokens, partial(past.logits, stand, row[None].to(device)))
            for stand, row in zip(far, tokens, strict=True)
        ]
    owners = [Sequence([], num_prompt=0) for _ in far]
    try:
        for owner, stand in zip(owners, far, strict=True):
            runner.cache.reserve(owner, stand.num_tokens)
        sequences = [
            _standing(stand, row.tolist(), [*stand.past_of(blocks), *owner.block_ids])
            for stand, row, owner in zip(far, tokens, owners, strict=True)
        ]
        ends = [len(sequence.token_ids) for sequence in sequences]
        with _saying(runner, "does not run packed"):
            parts = [_feed(runner, sequences, to, expected) for to in ([end - 1 for end in ends], ends)]
    finally:
        for owner in owners:
            runner.cache.free(owner)
    actual = [torch.cat(rows) for rows in zip(*parts, strict=True)]
    for stand, one, other in zip(far, actual, expected, strict=True):
        _compare(runner, [one], [other.logits], f" at position {stand.position}")


def _standing(stand: Stand, token_ids: list[int], block_ids: list[int]) -> Sequence:
    """A sequence that has come to a stand. No token of its past is known, nor needed."""
    return Sequence(
        [0] * stand.num_past + token_ids,
        # As one call, which is what the model itself makes of them.
        num_prompt=stand.num_past + len(token_ids),
        num_cached=stand.num_past,
        block_ids=block_ids,
        num_masked=stand.num_masked,
    )


def _feed(runner: Checked, sequences: Seq[Sequence], ends: Seq[int], expected: Seq[_Expected]) -> list[torch.Tensor]:
    """The logits (n, V) of what each sequence has fed up to its end. Where routers choose, they choose as expected."""
    feeds, parts = [], []
    for sequence, end, one in zip(sequences, ends, expected, strict=True):
        runner.cache.reserve(sequence, end - sequence.num_cached)
        token_ids = sequence.token_ids[sequence.num_cached : end]
        feeds.append(Feed(sequence, token_ids, num_logits=len(token_ids)))
        first = len(sequence.token_ids) - len(one.logits)
        parts.append((one.routing, slice(sequence.num_cached - first, end - first)))
    with replaying(parts):
        forward = runner.forward(Batch(feeds, []))
    return [forward.at(list(forward.spans[sequence])) for sequence in sequences]


def _compare(runner: Checked, actual: Seq[torch.Tensor], expected: Seq[torch.Tensor], where: str) -> None:
    """Raises ModelUnsupported where logits differ by more than they may, by their root mean squares."""
    found, told = torch.cat(list(actual)), torch.cat(list(expected))
    drift = float((found - told).square().mean().sqrt() / told.square().mean().sqrt())
    allowed = ALLOWED.get(runner.model.dtype, ALLOWED_OF_TWO_BYTES)
    if not drift <= allowed:
        raise ModelUnsupported(
            f"{_kind(runner)} gives other logits packed than alone{where}: by {drift:.2%}, allowed are {allowed:.1%}"
        )


def _kind(runner: Checked) -> str:
    return type(runner.model).__name__


@contextlib.contextmanager
def _saying(runner: Checked, what: str) -> Iterator[None]:
    """Turn whatever a model's code raises, when it is run as it does not expect, into a reason."""
    try:
        yield
    except Exception as error:
        raise ModelUnsupported(f"{_kind(runner)} {what}: {in_words(error)}") from error
