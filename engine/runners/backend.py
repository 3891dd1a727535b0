"""Who computes a pass of the model for the packed runner, and who is picked for a model."""

import logging
from collections.abc import Sequence as Seq
from typing import Any, Protocol

import torch
from transformers import PreTrainedModel

from config.settings import EngineSettings
from engine.batch import Feed
from engine.cache import BlockCache, BlockCopy
from engine.errors import ModelUnsupported
from engine.native.compiler import NoKernels
from engine.native.library import Kernels, load_kernels
from engine.native.linear import pack_linears
from engine.native.parts import OtherArchitecture
from engine.native.stack import NativeStack
from engine.runners.cuda_pick import pick_for_gpu
from engine.runners.native_backend import NativeBackend
from engine.runners.torch_backend import TorchBackend
from engine.threads import pick_num_threads

logger = logging.getLogger(__name__)


class Store(Protocol):
    """The keys and values of all layers. is_used: whether anything was stored yet."""

    @property
    def is_used(self) -> bool: ...

    def copy_blocks(self, copies: Seq[BlockCopy]) -> None:
        """Copy blocks in every layer, for forks that are about to write into them."""
        ...


class Backend(Protocol):
    """Computes passes over sequences whose blocks are reserved.

    kernels: what computes, in words. variant: of the native kernels, or torch. plain: the kind of attention, of the
    library's own, that the model came with.
    """

    kernels: str
    variant: str
    attention: str
    plain: str

    def new_store(self, cache: BlockCache) -> Any: ...  # Any: the backend's own kind of store

    def run(
        self, feeds: Seq[Feed], kept: Seq[int], layers: Seq[int], store: Any
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """The logits of the `kept` tokens, (N, V) float32, and the hidden states of some layers, (T, d) each."""
        ...

    def project(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (n, d) through the model's head alone: (n, V) float32."""
        ...


def pick_backend(
    model: PreTrainedModel, cache: BlockCache, settings: EngineSettings, quantize: str | None = None
) -> Backend:
    """The fastest there is for this model, on this machine, within the settings. It takes the model's weights.

    Raises ModelUnsupported where the settings ask for what cannot be had.
    """
    if model.device.type != "cpu" or settings.kernels == "torch":
        if quantize:
            raise ModelUnsupported(f"quantize is {quantize}, which needs the native kernels on a CPU")
        if model.device.type == "cuda" and settings.kernels != "torch":
            return pick_for_gpu(model, cache.block_size)
        return TorchBackend(model, "torch")
    try:
        kernels = load_kernels(settings.num_threads or pick_num_threads(num_bytes(model)), settings.kernels_dir)
    except NoKernels as error:
        if quantize or settings.kernels == "native":
            raise ModelUnsupported(f"no native kernels: {error}") from error
        return TorchBackend(model, f"torch; no native kernels: {error}")
    return _native(model, cache, kernels, quantize)


def _native(model: PreTrainedModel, cache: BlockCache, kernels: Kernels, quantize: str | None) -> Backend:
    form = f", {quantize} weights" if quantize else ""
    try:
        return NativeBackend(model, NativeStack(model, kernels, cache, quantize), form)
    except OtherArchitecture as error:
        count = pack_linears(model, kernels, quantize)
        if not count and quantize:
            raise ModelUnsupported(f"quantize is {quantize}, but the model has no linear layer of that kind") from error
        logger.info("the kernels run the %d linear layers alone; what is not theirs: %s", count, error)
        return TorchBackend(model, f"{kernels.variant}, linear layers{form}" if count else "torch")


def num_bytes(model: PreTrainedModel) -> int:
    """How much memory the weights take."""
    return sum(parameter.nbytes for parameter in model.parameters())
