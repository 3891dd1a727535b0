"""What the configuration of a model says of its decoder, for all who ask."""

from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig


def decoder_config(config: PreTrainedConfig) -> Any:  # Any: fields differ between architectures
    """The part that describes the decoder; a model of pictures and text has others beside it."""
    return config.get_text_config(decoder=True)


@dataclass(frozen=True, slots=True)
class HeadSizes:
    """num: heads of queries. num_kv: those of keys, which several of queries may share. size: numbers in each."""

    num: int
    num_kv: int
    size: int

    @classmethod
    def of(cls, config: PreTrainedConfig) -> "HeadSizes":
        decoder = decoder_config(config)
        num = decoder.num_attention_heads
        size = getattr(decoder, "head_dim", None) or decoder.hidden_size // num
        return cls(num, getattr(decoder, "num_key_value_heads", None) or num, size)
