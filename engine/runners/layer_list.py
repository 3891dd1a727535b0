"""The layers of a decoder as the library's code runs them."""

import contextlib
from collections.abc import Iterator

from torch.nn import Module, ModuleList
from transformers import PreTrainedModel

from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.engine.state.decoder_config import decoder_config


class LayerList:
    """The one list of a model's layers. Raises ModelUnsupported for a model that has none."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._config = decoder_config(model.config)
        self._num_layers = int(self._config.num_hidden_layers)
        self._holder, self._name = _find(model.get_decoder(), self._num_layers)
        self._layers: ModuleList = getattr(self._holder, self._name)

    def __len__(self) -> int:
        return self._num_layers

    @contextlib.contextmanager
    def cut(self, num_layers: int) -> Iterator[None]:
        """Let the model be its first layers for the time of a pass.

        The library takes no number of layers as an argument: some architectures run those there are, others as many as
        the configuration says. A copy that is cut would do without this, but it would share its modules with the model,
        and with them the hooks by which the library collects hidden states, which each of the two hangs up anew.
        """
        setattr(self._holder, self._name, self._layers[:num_layers])
        self._config.num_hidden_layers = num_layers
        try:
            yield
        finally:
            setattr(self._holder, self._name, self._layers)
            self._config.num_hidden_layers = self._num_layers


def _find(decoder: Module, num_layers: int) -> tuple[Module, str]:
    """The module that holds the list of layers, and its attribute."""
    for module in decoder.modules():
        for name, child in module.named_children():
            if isinstance(child, ModuleList) and len(child) == num_layers:
                return module, name
    raise ModelUnsupported(f"{type(decoder).__name__} has no list of {num_layers} layers")
