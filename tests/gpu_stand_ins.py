"""What stands in for a GPU: the kernel in plain torch, and recordings that are calls."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from beamhouse.engine.attention.varlen import VarlenKernel
from beamhouse.engine.attention.varlen_plain import varlen_plain
from beamhouse.engine.runners.cuda_graphs import Recording

KERNEL = VarlenKernel(varlen_plain, "paged, stand-in", takes_key_starts=True)


@dataclass(slots=True)
class Recorder:
    """A recording that calls the function again and writes into the same tensor, as a graph does. plays: their sizes.

    drift: what a playback adds to its result, for those that go wrong.
    """

    drift: float = 0.0
    recorded: list[int] = field(default_factory=list)
    plays: list[int] = field(default_factory=list)

    def __call__(self, compute: Callable[[], torch.Tensor]) -> Recording:
        result = compute().clone()
        self.recorded.append(len(result))

        def replay() -> None:
            self.plays.append(len(result))
            result.copy_(compute() + self.drift)

        return replay, result
