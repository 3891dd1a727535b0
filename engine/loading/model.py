"""Brings a model's weights into memory, in the asked type, on the asked device."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as library_logging

from beamhouse.config.settings import ModelSettings
from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.engine.loading.files import ReportProgress
from beamhouse.engine.state.decoder_config import decoder_config
from beamhouse.schemas.words import Stage

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_model(path: Path, settings: ModelSettings, progress: ReportProgress) -> PreTrainedModel:
    """Load a decoder-only model for inference. Raises ModelUnsupported; never runs code from the directory."""
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    except (ValueError, OSError, KeyError) as error:
        raise ModelUnsupported(f"the configuration in {path} is not one transformers knows: {error}") from error
    if config.is_encoder_decoder:
        raise ModelUnsupported(f"not supported yet: encoder-decoder models ({config.model_type})")
    device = pick_device(settings.device)
    progress(Stage.WEIGHTS, 0.0)
    previous = library_logging.set_tqdm_hook(_counting(progress))
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(  # Any: the library declares no pair
            path,
            config=config,
            dtype=pick_dtype(settings.dtype, config, device),
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="eager" if _needs_eager(config) else None,
            output_loading_info=True,
        )
    except Exception as error:  # a broken file raises what its parser raises
        raise ModelUnsupported(f"the model in {path} cannot be loaded: {error}") from error
    finally:
        library_logging.set_tqdm_hook(previous)
    model, report = loaded
    # The library would fill them with random numbers.
    if missing := sorted(report["missing_keys"]):
        raise ModelUnsupported(f"the model in {path} lacks {len(missing)} weights, the first is {missing[0]}")
    decoder = decoder_config(config)
    if not hasattr(decoder, "num_hidden_layers"):
        raise ModelUnsupported(f"not supported yet: models of several stacks of layers ({config.model_type})")
    layer_types = getattr(decoder, "layer_types", None) or ()
    if model._is_stateful or "conv" in layer_types:  # what a convolution saw last is a state, too
        raise ModelUnsupported(f"not supported yet: models with recurrent state ({config.model_type})")
    model.eval().requires_grad_(False)
    placed: PreTrainedModel = torch.nn.Module.to(model, device)
    return placed


def pick_device(wanted: str) -> torch.device:
    """`auto` is the first GPU if there is one, else the CPU. Raises ModelUnsupported for a device that is not there."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelUnsupported(f"device is {wanted}, but torch {torch.__version__} finds no GPU here")
    return device


def pick_dtype(wanted: str, config: Any, device: torch.device) -> torch.dtype:  # Any: a transformers configuration
    """`auto` is the type the configuration names, or float32 where the CPU would have to emulate that type."""
    if wanted != "auto":
        return DTYPES[wanted]
    stored: torch.dtype | None = getattr(decoder_config(config), "dtype", None) or config.dtype
    if stored is None or (device.type == "cpu" and not _computes_natively(stored)):
        return torch.float32
    return stored


def _computes_natively(dtype: torch.dtype) -> bool:
    """Whether this CPU multiplies matrices of the type with its own instructions."""
    if dtype == torch.bfloat16:
        capabilities = torch.backends.cpu.get_cpu_capability()
        return "AVX512" in capabilities and bool(torch.cpu._is_avx512_bf16_supported())
    return dtype == torch.float32


def _needs_eager(config: Any) -> bool:  # Any: a transformers configuration
    """Attention with capped logits is only right in the library's eager form."""
    return getattr(decoder_config(config), "attn_logit_softcapping", None) is not None


def _counting(progress: ReportProgress) -> Any:  # Any: the library's hook type is not exported
    """A hook for the library's progress bars that tells how far the weights are."""

    def hook(factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not args:
            return factory(*args, **{**kwargs, "disable": True})
        items = list(args[0])
        return _Counted(items, progress)

    return hook


class _Counted:
    """Iterates like a progress bar and tells every hundredth."""

    def __init__(self, items: list[Any], progress: ReportProgress) -> None:
        self._items, self._progress = items, progress

    def __iter__(self) -> Any:
        for number, item in enumerate(self._items, 1):
            yield item
            if number == len(self._items) or number % max(1, len(self._items) // 100) == 0:
                self._progress(Stage.WEIGHTS, number / len(self._items))
