"""What runs a model on a GPU: the fast way where it can be had, else the plain one, and why."""

import logging
from typing import Any

import torch
from torch.nn.attention import current_flash_attention_impl
from torch.nn.attention.varlen import varlen_attn
from transformers import PreTrainedModel

from beamhouse.engine.attention.varlen import NUM_SPLITS, VarlenKernel
from beamhouse.engine.attention.varlen_plain import varlen_plain
from beamhouse.engine.runners.cuda_backend import CudaBackend
from beamhouse.engine.runners.cuda_graphs import CudaRecorder
from beamhouse.engine.runners.torch_backend import TorchBackend
from beamhouse.engine.state.decoder_config import HeadSizes

logger = logging.getLogger(__name__)

ALLOWED = 5e-2
"""How far the kernel's results, means of numbers about 1, may be off in types of two bytes."""


class NoVarlen(Exception):
    """The kernel does not run on this device, in this type or with this cache; the message says why."""


def pick_for_gpu(model: PreTrainedModel, block_size: int) -> CudaBackend | TorchBackend:
    """Tries the kernel with the model's heads and the cache's blocks, and holds it against the same in plain torch."""
    implementation = current_flash_attention_impl()
    name = f"paged, FlashAttention {implementation[2:] if implementation else 2}"
    kernel = VarlenKernel(varlen_attn, name, takes_key_starts=implementation is None)
    try:
        try_kernel(kernel, model, block_size)
    except NoVarlen as error:
        logger.warning("attention in one call a layer is not to be had: %s", error)
        return TorchBackend(model, "torch", f"paged, torch; no varlen attention: {error}")
    return CudaBackend(model, kernel, CudaRecorder(model.device))


@torch.inference_mode()
def try_kernel(kernel: VarlenKernel, model: PreTrainedModel, block_size: int) -> None:
    """One row of one token and one of several, after keys in two blocks each. Raises NoVarlen.

    What others left behind the end of a row is no number, and has to stay unread.
    """
    if model.dtype not in (torch.float16, torch.bfloat16):
        raise NoVarlen(f"it takes types of two bytes, the model is {str(model.dtype).removeprefix('torch.')}")
    heads = HeadSizes.of(model.config)
    random = torch.Generator(model.device).manual_seed(0)
    shape = (4, block_size, heads.num_kv, heads.size)
    query, keys, values = (
        torch.randn(shape, generator=random, device=model.device).to(model.dtype)
        for shape in ((4, heads.num, heads.size), shape, shape)
    )
    starts, lengths = [0, 1, 4], [block_size + 1, 2 * block_size]
    keys[0, 1:] = values[0, 1:] = torch.nan

    def numbers(*of: int) -> torch.Tensor:
        return torch.tensor(of, dtype=torch.int32, device=model.device)

    for window in (-1, block_size // 2):
        told: dict[str, Any] = {
            "scale": heads.size**-0.5, "window_size": (window, 0), "enable_gqa": heads.num != heads.num_kv,
            "seqused_k": numbers(*lengths), "block_table": numbers(2, 0, 3, 1).view(2, 2), "num_splits": NUM_SPLITS,
        }  # fmt: skip
        rows = query, keys, values, numbers(*starts), numbers(0, lengths[0], sum(lengths)), 3, max(lengths)
        try:
            found = kernel.attend(*(rows if kernel.takes_key_starts else (*rows[:4], None, *rows[5:])), **told)
        except (RuntimeError, ValueError, TypeError) as error:
            raise NoVarlen(str(error).strip().split("\n")[0]) from error
        drift = float((found - varlen_plain(*rows, **told)).abs().max())
        if not drift <= ALLOWED:
            raise NoVarlen(f"it gives other results than plain torch, by {drift:.2g}")
