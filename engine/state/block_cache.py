"""Which cache blocks hold which tokens: the accounting of a paged KV cache with prefix caching, no tensors.

A block holds `block_size` consecutive tokens of a sequence, whose `block_ids` are its block table. Blocks are counted
by reference: a fork shares all blocks of its parent, and whoever writes into a shared block gets a copy of it first
(copy on write). A full block is published under a digest
of all tokens up to its end; a prompt that begins with the same tokens takes the block instead of computing it.
Of the block where a prompt departs from the others it gets a copy, with the tokens before that. Published blocks that
nobody holds stay until their room is needed, the longest unused first.
"""

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Set
from dataclasses import dataclass

from beamhouse.engine.state.request import Sequence
from beamhouse.engine.state.rope_scaling import Stretch

MIN_PART = 4
"""Which part of a block has to be known, at least, for a copy to be worth it: one of so many."""


@dataclass(frozen=True, slots=True)
class BlockCopy:
    """Copy the whole of one block to another before anything is written."""

    source: int
    target: int


class CacheFull(Exception):
    """No block is free; the scheduler answers by preempting a request."""


class BlockCache:
    """The blocks of one model's KV cache and the sequences that hold them.

    stretch: how the keys depend on the number of tokens that are computed at once, where they do.
    """

    def __init__(
        self, num_blocks: int, block_size: int, *, prefix_caching: bool = True, stretch: Stretch | None = None
    ) -> None:
        self.num_blocks, self.block_size, self.prefix_caching = num_blocks, block_size, prefix_caching
        self.stretch = stretch or Stretch()
        self.clear(())

    def clear(self, sequences: Iterable[Sequence]) -> None:
        """Begin anew: no block is held or offered. sequences: all that held some; nothing of them is cached then."""
        for sequence in sequences:
            sequence.block_ids, sequence.num_cached = [], 0
        self._references = [0] * self.num_blocks
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(self.num_blocks))  # the longest unused first
        self._digests: list[bytes | None] = [None] * self.num_blocks
        self._published: dict[bytes, int] = {}
        # By the digest before it, the block that was published last with its tokens; and the other way round.
        self._followers: dict[bytes, tuple[int, list[int]]] = {}
        self._before: dict[int, bytes] = {}

    @property
    def num_free(self) -> int:
        return len(self._free)

    @property
    def num_used(self) -> int:
        return self.num_blocks - len(self._free)

    def num_blocks_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self.block_size)

    def num_needed(self, sequence: Sequence, num_tokens: int) -> int:
        """Free blocks that `reserve` would take for `num_tokens` more tokens."""
        needed = self.num_blocks_for(sequence.num_cached + num_tokens) - len(sequence.block_ids)
        return max(needed, 0) + (num_tokens > 0 and self._shared_block(sequence) is not None)

    def match_prefix(self, sequence: Sequence, salt: str) -> int:
        """Give a sequence the published blocks that go on where its cached tokens end; the number of tokens they hold.

        Nothing is found for a sequence within a block: it has begun to fill one of its own.
        """
        start = sequence.num_cached
        while (digest := self._next_digest(sequence, salt)) in self._published:
            self._hold(self._published[digest])
            sequence.block_ids.append(self._published[digest])
            sequence.num_cached += self.block_size
        return sequence.num_cached - start

    def match_part(self, sequence: Sequence, salt: str) -> BlockCopy | None:
        """Give a sequence a copy of a published block of which it needs the beginning, if that and a free block exist.

        For sequences that `match_prefix` has nothing for; the copy is to be made before anything is written.
        """
        number, size = len(sequence.block_ids), self.block_size
        if not self.prefix_caching or sequence.num_cached != number * size:
            return None
        follower = self._followers.get(self._digest_before(sequence, number, salt))
        if follower is None:
            return None
        source, token_ids = follower
        num_same = num_alike(sequence.token_ids[number * size : -1], token_ids)
        if num_same < max(1, size // MIN_PART) or self.num_free <= (source in self._free):
            return None
        self._hold(source)
        copy = BlockCopy(source, self._take())
        self._release(source)
        sequence.block_ids.append(copy.target)
        sequence.num_cached += num_same
        return copy

    def next_is_in(self, digests: Set[bytes], sequence: Sequence, salt: str) -> bool:
        """Whether the block that `match_prefix` lacked is among these."""
        return bool(digests) and self._next_digest(sequence, salt) in digests

    def filled_by(self, sequence: Sequence, num_tokens: int, salt: str) -> list[bytes]:
        """The digests of the blocks that the next `num_tokens` tokens go into, of those that the sequence can fill."""
        if not self.prefix_caching:
            return []
        first, size = sequence.num_cached // self.block_size, self.block_size
        end = min(self.num_blocks_for(sequence.num_cached + num_tokens), len(sequence.token_ids) // size)
        return [self._digest(sequence, number, salt) for number in range(first, end)]

    def reserve(self, sequence: Sequence, num_tokens: int) -> BlockCopy | None:
        """Make room for the next `num_tokens` tokens after the cached ones, in blocks no other sequence reads.

        Raises CacheFull, having changed nothing, when too few blocks are free.
        """
        if self.num_needed(sequence, num_tokens) > len(self._free):
            raise CacheFull
        copy = None
        shared = self._shared_block(sequence) if num_tokens else None
        if shared is not None:
            copy = BlockCopy(sequence.block_ids[shared], self._take())
            self._release(sequence.block_ids[shared])
            sequence.block_ids[shared] = copy.target
        elif num_tokens and sequence.num_cached % self.block_size:
            self._withdraw(sequence.block_ids[sequence.num_cached // self.block_size])
        while len(sequence.block_ids) * self.block_size < sequence.num_cached + num_tokens:
            sequence.block_ids.append(self._take())
        return copy

    def publish(self, sequence: Sequence, salt: str) -> None:
        """Offer the full blocks of a sequence to later prompts with the same salt; drafts are not offered."""
        if not self.prefix_caching:
            return
        for number in range(min(sequence.num_cached, len(sequence.token_ids)) // self.block_size):
            block = sequence.block_ids[number]
            if self._digests[block] is None:
                digest = self._digest(sequence, number, salt)
                if digest not in self._published:
                    self._digests[block] = digest
                    self._published[digest] = block
                    token_ids = sequence.token_ids[number * self.block_size : (number + 1) * self.block_size]
                    before = self._before[block] = self._digest_before(sequence, number, salt)
                    self._followers[before] = block, token_ids

    def fork(self, parent: Sequence, child: Sequence) -> None:
        """Let `child`, which begins with the parent's tokens, share everything the parent has cached."""
        for block in parent.block_ids:
            self._hold(block)
        child.block_ids = list(parent.block_ids)
        child.digests = list(parent.digests)
        child.num_cached = parent.num_cached

    def truncate(self, sequence: Sequence, num_cached: int) -> None:
        """Forget all but the first `num_cached` cached tokens; those behind them may become others."""
        self._keep(sequence, num_cached)
        del sequence.digests[num_cached // self.block_size :]

    def free(self, sequence: Sequence) -> None:
        """Give up all blocks of a sequence, whose tokens stay as they are."""
        self._keep(sequence, 0)

    def _keep(self, sequence: Sequence, num_cached: int) -> None:
        keep = self.num_blocks_for(num_cached)
        for block in reversed(sequence.block_ids[keep:]):
            self._release(block)
        del sequence.block_ids[keep:]
        sequence.num_cached = min(sequence.num_cached, num_cached)

    def _shared_block(self, sequence: Sequence) -> int | None:
        """The place, in the sequence, of the partly filled block it would write into, if others read it too."""
        number = sequence.num_cached // self.block_size
        if number < len(sequence.block_ids) and self._references[sequence.block_ids[number]] > 1:
            return number
        return None

    def _next_digest(self, sequence: Sequence, salt: str) -> bytes | None:
        """Of the block behind the cached tokens, if it could be taken: none of it is cached, and a token is left.

        The last token has to be computed: its logits are what a step is for.
        """
        number = len(sequence.block_ids)
        is_between = sequence.num_cached == number * self.block_size
        if not self.prefix_caching or not is_between or (number + 1) * self.block_size >= len(sequence.token_ids):
            return None
        return self._digest(sequence, number, salt)

    def _digest(self, sequence: Sequence, number: int, salt: str) -> bytes:
        """Of all tokens up to the end of a full block, computed once for a sequence.

        Masked positions count too, and so does how the positions are turned.
        """
        digests, size = sequence.digests, self.block_size
        while len(digests) <= number:
            before = self._digest_before(sequence, len(digests), salt)
            token_ids = sequence.token_ids[len(digests) * size : (len(digests) + 1) * size]
            digests.append(hashlib.sha256(before + b"\0" + array("q", token_ids).tobytes()).digest())
        return digests[number]

    def _digest_before(self, sequence: Sequence, number: int, salt: str) -> bytes:
        if number:
            return self._digest(sequence, number - 1, salt)
        turned = self.stretch.least_like(sequence.num_at_once)
        return f"{sequence.num_masked} {turned} {salt}".encode()

    def _take(self) -> int:
        block, _ = self._free.popitem(last=False)
        self._withdraw(block)
        self._references[block] = 1
        return block

    def _hold(self, block: int) -> None:
        self._references[block] += 1
        self._free.pop(block, None)

    def _release(self, block: int) -> None:
        self._references[block] -= 1
        if self._references[block] == 0:
            self._free[block] = None
            if self._digests[block] is None:
                self._free.move_to_end(block, last=False)

    def _withdraw(self, block: int) -> None:
        """Take a block off offer, before what it holds changes."""
        digest = self._digests[block]
        if digest is not None:
            del self._published[digest]
            self._digests[block] = None
            before = self._before.pop(block)
            if before in self._followers and self._followers[before][0] == block:
                del self._followers[before]


def num_alike(one: list[int], other: list[int]) -> int:
    """How many tokens two lists begin with alike."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
