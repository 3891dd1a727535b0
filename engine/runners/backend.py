"""Who computes a pass of the model for the packed runner, and who is picked for a model."""

import logging
from collections.abc import Sequence as Seq
from typing import Any, Protocol

import torch
from transformers import PreTrainedModel

from beamhouse.config.settings import EngineSettings
from beamhouse.engine.link.errors import ModelUnsupported, in_words
from beamhouse.engine.native.library import Kernels
from beamhouse.engine.native.linear import pack_linears
from beamhouse.engine.native.parts import OtherArchitecture
from beamhouse.engine.native.pick import PickedKernels
from beamhouse.engine.runners.cuda_pick import pick_for_gpu
from beamhouse.engine.runners.native_backend import NativeBackend
from beamhouse.engine.runners.torch_backend import TorchBackend
from beamhouse.engine.state.batch import Feed
from beamhouse.engine.state.block_cache import BlockCache, BlockCopy

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

    def instead(self, reason: str) -> "Backend | None":
        """Who computes where this one is wrong for the model, for a reason; None where there is nobody."""
        ...

    def run(
        self, feeds: Seq[Feed], kept: Seq[int], layers: Seq[int], store: Any, num_layers: int | None = None
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """The logits of the `kept` tokens, (N, V) float32, and the hidden states of some layers, (T, d) each.

        num_layers: how many are run, from the first on; None: all.
        """
        ...

    def project(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (n, d) through the model's head alone: (n, V) float32."""
        ...


def pick_backend(
    model: PreTrainedModel,
    cache: BlockCache,
    settings: EngineSettings,
    picked: PickedKernels,
    quantize: str | None = None,
) -> Backend:
    """The fastest there is for this model, on this machine, within the settings. It takes the model's weights.

    Raises ModelUnsupported where the settings ask for what cannot be had.
    """
    if picked.kernels is not None:
        return _native(model, cache, picked.kernels, quantize, picked.why_not)
    if quantize:
        raise ModelUnsupported(
            f"quantize is {quantize}, which needs the native kernels on a CPU"
            + (f": {picked.why_not}" if picked.why_not else "")
        )
    if model.device.type == "cuda" and settings.kernels != "torch":
        return pick_for_gpu(model, cache.block_size)
    return TorchBackend(model, f"torch; {picked.why_not}" if picked.why_not else "torch")


def _native(model: PreTrainedModel, cache: BlockCache, kernels: Kernels, quantize: str | None, why_not: str) -> Backend:
    """The whole decoder in the kernels, or its linear layers alone.

    A model can be unlike all that recognition expects, in any way; whatever that raises, its own code may still be
    right, with what was packed until then: layers over packed weights compute the same.
    """
    remark = (f", {quantize} weights" if quantize else "") + (f"; {why_not}" if why_not else "")
    try:
        return NativeBackend(model, kernels, cache, quantize, remark)
    except OtherArchitecture as error:
        reason = str(error)
    except Exception as error:
        reason = in_words(error)
    logger.info("the kernels do not run the decoder of %s whole: %s", type(model).__name__, reason)
    try:
        count = pack_linears(model, kernels, quantize)
    except Exception as error:
        if quantize:
            raise ModelUnsupported(
                f"quantize is {quantize}, but a layer cannot be packed: {in_words(error)}"
            ) from error
        logger.warning("the linear layers of %s stay as they are: %s", type(model).__name__, in_words(error))
        return TorchBackend(model, "torch")
    if not count and quantize:
        raise ModelUnsupported(f"quantize is {quantize}, but the model has no linear layer of that kind")
    return TorchBackend(model, f"{kernels.variant}, linear layers{remark}" if count else "torch")
