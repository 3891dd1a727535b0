"""How far a request goes that asks for as much as there is room for."""

from bisect import bisect
from collections.abc import Callable
from dataclasses import replace

from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.resolved import Resolved
from beamhouse.schemas.judge.asked import Asked, Facts, Prompt
from beamhouse.schemas.judge.budget import find_expenses

Resolve = Callable[[GenerationConfig, Prompt], Resolved]


def filled(asked: Asked, facts: Facts, resolved: Resolve) -> Asked:
    """The same with the most new tokens that the request, the context, the cache and the budget allow; at least one.

    resolved: what a configuration means after a prompt.
    """
    rooms = [room(config, prompt, facts) for config, prompt in zip(asked.configs, asked.prompts, strict=True)]
    if asked.own.max_new_tokens is not None:
        rooms = [min(asked.own.max_new_tokens, place) for place in rooms]

    def up_to(most: int) -> Asked:
        lengths = [min(most, place) for place in rooms]
        owns = [asked.own.model_copy(update={"max_new_tokens": length}) for length in lengths]
        return replace(asked, configs=[resolved(own, prompt) for own, prompt in zip(owns, asked.prompts, strict=True)])

    def is_too_much(most: int) -> bool:
        return any(find_expenses(up_to(most), facts))

    longest = max(rooms)
    if is_too_much(longest):
        longest = max(1, bisect(range(1, longest), False, key=is_too_much))
    return up_to(longest)


def room(config: Resolved, prompt: Prompt, facts: Facts) -> int:
    """New tokens that fit behind a prompt, in all of its rows; 1 where none does, which the judge refuses."""
    info, taken = facts.info, prompt.num_tokens
    context = facts.silent_len if taken < facts.silent_len else facts.most_tokens
    negative = 0 if prompt.negative is None else len(prompt.negative.token_ids)
    blocks = info.cache_tokens // info.block_size // config.width
    return max(1, min(context - taken, blocks * info.block_size - max(taken, negative)))
