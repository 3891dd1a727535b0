"""Whether the kernels are to be had for a model, on this machine, within the settings."""

import logging
from dataclasses import dataclass

from transformers import PreTrainedModel

from beamhouse.config.settings import EngineSettings
from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.engine.native.choices import unlike_torch
from beamhouse.engine.native.compiler import NoKernels
from beamhouse.engine.native.library import Kernels, load_kernels
from beamhouse.engine.native.threads import pick_num_threads

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PickedKernels:
    """The kernels, or None. why_not: where they were to be had, what stands against them, or against their draws."""

    kernels: Kernels | None
    why_not: str = ""


def pick_kernels(model: PreTrainedModel, settings: EngineSettings) -> PickedKernels:
    """Asked once at load, for the model's passes and for all that stands around them.

    Raises ModelUnsupported where the settings ask for kernels that cannot be had.
    """
    is_required = settings.kernels == "native"
    if model.device.type != "cpu":
        if is_required:
            raise ModelUnsupported(f"kernels is native, which needs a model on the CPU; its device is {model.device}")
        return PickedKernels(None)
    if settings.kernels == "torch":
        return PickedKernels(None)
    try:
        kernels = load_kernels(num_threads(model, settings), settings.kernels_dir)
    except NoKernels as error:
        if is_required:
            raise ModelUnsupported(f"kernels is native, and there are no native kernels: {error}") from error
        return PickedKernels(None, f"no native kernels: {error}")
    reason = unlike_torch(kernels)
    if reason:
        logger.warning("tokens are drawn by torch, not by the kernels: %s", reason)
    return PickedKernels(kernels, f"draws by torch: {reason}" if reason else "")


def num_threads(model: PreTrainedModel, settings: EngineSettings) -> int:
    """Threads that compute, be they the kernels' own or torch's."""
    return settings.num_threads or pick_num_threads(sum(parameter.nbytes for parameter in model.parameters()))
