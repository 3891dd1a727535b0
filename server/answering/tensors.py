"""Scores, logits, hidden states and attentions on their way out: as JSON, as base64, as a safetensors file."""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray

from beamhouse.engine.link.messages import LikelyTokens, TensorPiece, TopToken
from beamhouse.schemas.judge.budget import NUMBER_BYTES


def num_bytes(tensors: Mapping[str, TensorPiece], form: str) -> int:
    """Bytes that tensors take in one of the forms."""
    return round(sum(len(tensor.data) for tensor in tensors.values()) * NUMBER_BYTES[form] / 4)


def encode_tensors(tensors: Mapping[str, TensorPiece]) -> dict[str, Any]:
    """Tensors as objects with base64 bytes."""
    return {
        name: {"dtype": tensor.dtype, "shape": tensor.shape, "data": base64.b64encode(tensor.data).decode()}
        for name, tensor in tensors.items()
    }


def in_json(values: NDArray[Any]) -> Any:
    """Numbers as JSON can say them, in lists of lists."""
    if np.isfinite(values).all():
        return values.tolist()
    said = values.astype(object)
    said[np.isnan(values)] = None
    said[np.isposinf(values)], said[np.isneginf(values)] = "Infinity", "-Infinity"
    return said.tolist()


def read_values(tensor: TensorPiece) -> NDArray[Any]:
    """The values of a tensor, in its shape."""
    if tensor.dtype == "bfloat16":
        # A bfloat16 is the upper half of the float32 of the same value.
        halves = np.frombuffer(tensor.data, dtype="<u2").astype(np.uint32)
        return (halves << 16).view(np.float32).reshape(tensor.shape)
    return np.frombuffer(tensor.data, dtype=np.dtype(tensor.dtype).newbyteorder("<")).reshape(tensor.shape)


def read_likely(likely: LikelyTokens) -> Iterator[list[TopToken] | None]:
    """The likeliest tokens at each position of a prompt, best first; None for the first, which nothing precedes."""
    yield None
    for ids, logprobs in zip(read_values(likely.token_ids), read_values(likely.logprobs), strict=True):
        pairs = zip(ids.tolist(), logprobs.tolist(), strict=True)
        yield [TopToken(token_id, logprob) for token_id, logprob in pairs if logprob > -np.inf]


def write_safetensors(tensors: Mapping[str, TensorPiece], answer: str) -> bytes:
    """A safetensors file with the JSON answer under the key `answer` of its metadata."""
    specs = {
        name: safetensors.TensorSpec(
            dtype=tensor.dtype,
            shape=tensor.shape,
            data_ptr=np.frombuffer(tensor.data, dtype=np.uint8).ctypes.data,
            data_len=len(tensor.data),
        )
        for name, tensor in tensors.items()
    }
    return bytes(safetensors.serialize(specs, metadata={"answer": answer}))
