"""Which experts tokens were sent to in one pass of a model, and another pass with the same choice.

Where two experts score almost alike, the last bits of a sum decide between them, and what follows differs by far more
than bits. Two passes are therefore compared with the routing of the first.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as Seq
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

Routing = list[torch.Tensor | None]
"""Of each call of `topk` in a pass what it chose for its tokens, (T, choices, k); None where it chose for none."""


@contextlib.contextmanager
def recording(num_tokens: int) -> Iterator[Routing]:
    """Note what the routers choose in a pass of so many tokens."""
    chosen: Routing = []

    def record(scores: torch.Tensor, values: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = _rows(scores, num_tokens)
        chosen.append(None if rows is None else places.reshape(num_tokens, rows, -1))
        return values, places

    with _AtTopK(record):
        yield chosen


@contextlib.contextmanager
def replaying(parts: Seq[tuple[Routing, slice]]) -> Iterator[None]:
    """Let the routers of a pass choose as in others. parts: of each fed sequence what was chosen, and which tokens."""
    calls = zip(*(routing for routing, _ in parts), strict=True)
    num_tokens = sum(part.stop - part.start for _, part in parts)

    def replay(scores: torch.Tensor, values: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = next(calls, None)
        rows = _rows(scores, num_tokens)
        if chosen is None or rows is None or any(one is None for one in chosen):
            return values, places
        then = torch.cat([one[part] for one, (_, part) in zip(chosen, parts, strict=True)])
        if then.numel() != places.numel() or int(then.max()) >= scores.shape[-1]:
            return values, places
        then = then.reshape(places.shape)
        return scores.gather(-1, then), then

    with _AtTopK(replay):
        yield


def _rows(scores: torch.Tensor, num_tokens: int) -> int | None:
    """How often each token is chosen for by a call over these scores, (..., choices); None where it is not."""
    count = scores.numel() // max(1, scores.shape[-1])
    return count // num_tokens if count % num_tokens == 0 else None


Chosen = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class _AtTopK(TorchFunctionMode):
    """Calls a function with each call of `topk` along the last dimension: its scores, and what it found."""

    def __init__(self, function: Chosen) -> None:
        super().__init__()
        self._function = function

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:  # Any: as torch declares it
        found = function(*args, **(kwargs or {}))
        if function not in (torch.topk, torch.Tensor.topk):
            return found
        told = dict(zip(("input", "k", "dim"), args, strict=False)) | dict(kwargs or {})
        if told.get("dim", -1) not in (-1, told["input"].ndim - 1):
            return found
        return torch.return_types.topk(self._function(told["input"], *found))
