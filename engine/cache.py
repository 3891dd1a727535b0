"""Which cache blocks hold which tokens: accounting alone, no tensors.

A block holds `block_size` consecutive tokens of a sequence. Blocks are counted by reference: a fork shares all blocks
of its parent, and whoever writes into a shared block gets a copy of it first. A full block is published under a digest
of all tokens up to its end; a later prompt that begins with the same tokens takes the block instead of computing it.
Published blocks that nobody holds stay until their room is needed, the longest unused first.
"""

import hashlib
from array import array
from collections import OrderedDict
from dataclasses import dataclass

from engine.request import Sequence


@dataclass(frozen=True, slots=True)
class BlockCopy:
    """Copy the whole of one block to another before anything is written."""

    source: int
    target: int


class CacheFull(Exception):
    """No block is free; the scheduler answers by preempting a request."""


class BlockCache:
    """The blocks of one model's KV cache and the sequences that hold them."""

    def __init__(self, num_blocks: int, block_size: int, *, prefix_caching: bool = True) -> None:
        self.num_blocks, self.block_size, self.prefix_caching = num_blocks, block_size, prefix_caching
        self._references = [0] * num_blocks
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(num_blocks))  # the longest unused first
        self._digests: list[bytes | None] = [None] * num_blocks
        self._published: dict[bytes, int] = {}

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
        """Give an uncached sequence the published blocks its tokens begin with; the number of tokens they hold.

        The last token is always left to be computed: its logits are what a step is for.
        """
        if not self.prefix_caching or sequence.block_ids:
            return 0
        digest = salt.encode()
        for end in range(self.block_size, len(sequence.token_ids), self.block_size):
            digest = self._digest(digest, sequence.token_ids[end - self.block_size : end])
            block = self._published.get(digest)
            if block is None:
                break
            self._hold(block)
            sequence.block_ids.append(block)
        sequence.num_cached = len(sequence.block_ids) * self.block_size
        return sequence.num_cached

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
        digest = salt.encode()
        for number in range(min(sequence.num_cached, len(sequence.token_ids)) // self.block_size):
            block, start = sequence.block_ids[number], number * self.block_size
            known = self._digests[block]
            digest = known or self._digest(digest, sequence.token_ids[start : start + self.block_size])
            if known is None and digest not in self._published:
                self._digests[block] = digest
                self._published[digest] = block

    def fork(self, parent: Sequence, child: Sequence) -> None:
        """Let `child`, which begins with the parent's tokens, share everything the parent has cached."""
        for block in parent.block_ids:
            self._hold(block)
        child.block_ids = list(parent.block_ids)
        child.num_cached = parent.num_cached

    def truncate(self, sequence: Sequence, num_cached: int) -> None:
        """Forget all but the first `num_cached` cached tokens."""
        keep = self.num_blocks_for(num_cached)
        for block in reversed(sequence.block_ids[keep:]):
            self._release(block)
        del sequence.block_ids[keep:]
        sequence.num_cached = min(sequence.num_cached, num_cached)

    def free(self, sequence: Sequence) -> None:
        self.truncate(sequence, 0)

    def _shared_block(self, sequence: Sequence) -> int | None:
        """The place, in the sequence, of the partly filled block it would write into, if others read it too."""
        number = sequence.num_cached // self.block_size
        if number < len(sequence.block_ids) and self._references[sequence.block_ids[number]] > 1:
            return number
        return None

    def _digest(self, before: bytes, token_ids: list[int]) -> bytes:
        return hashlib.sha256(before + b"\0" + array("q", token_ids).tobytes()).digest()

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
