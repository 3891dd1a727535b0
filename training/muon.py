"""The optimiser of the weight matrices."""

import math

import torch


def orthogonalise(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """The nearest (semi-)orthogonal matrices, by the quintic Newton-Schulz iteration. (M, a, b) float32.

    Source: the Muon optimiser, arXiv:2502.16982. torch.optim.Muon iterates in bfloat16, which processors without
    bf16 instructions emulate fifty times slower; this stays in float32 and takes all layers in one call.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: torch.Tensor = x if wide else x.mT
    return result


class Muon:
    """Momentum, orthogonalised, for the weight matrices of the layers; all matrices of one shape in one call."""

    def __init__(
        self, weights: list[torch.nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.1
    ) -> None:
        self.lr, self.momentum, self.decay = lr, momentum, decay
        shapes: dict[torch.Size, list[torch.nn.Parameter]] = {}
        for weight in weights:
            shapes.setdefault(weight.shape, []).append(weight)
        self.groups = list(shapes.values())
        self.buffers = [torch.zeros(len(group), *group[0].shape) for group in self.groups]

    @torch.no_grad()
    def step(self, factor: float) -> None:
        for group, buffer in zip(self.groups, self.buffers, strict=True):
            grad = torch.stack([weight.grad for weight in group if weight.grad is not None])
            buffer.lerp_(grad, 1 - self.momentum)
            update = orthogonalise(grad.lerp(buffer, self.momentum))
            scale = 0.2 * math.sqrt(max(buffer.shape[1:]))
            for weight, change in zip(group, update, strict=True):
                weight.mul_(1 - self.lr * factor * self.decay).sub_(change, alpha=self.lr * factor * scale)
