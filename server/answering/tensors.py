"""Scores, logits, hidden states and attentions on their way out: as JSON, as base64, as a safetensors file."""

import base64
import struct
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from beamhouse.engine.link.messages import TensorPiece
from beamhouse.schemas.judge.budget import NUMBER_BYTES

FILE_DTYPES = {"float32": "F32", "float16": "F16", "int64": "I64", "bfloat16": "BF16"}
MAX_FLOAT = sys.float_info.max


def num_bytes(tensors: Mapping[str, TensorPiece], form: str) -> int:
    """Bytes that tensors take in one of the forms."""
    return round(sum(len(tensor.data) for tensor in tensors.values()) * NUMBER_BYTES[form] / 4)


def encode_tensors(tensors: Mapping[str, TensorPiece]) -> dict[str, Any]:
    """Tensors as objects with base64 bytes."""
    return {
        name: {"dtype": tensor.dtype, "shape": tensor.shape, "data": base64.b64encode(tensor.data).decode()}
        for name, tensor in tensors.items()
    }


def in_json(value: float) -> float | str | None:
    """A number as JSON can say it."""
    if -MAX_FLOAT <= value <= MAX_FLOAT:
        return value
    return None if value != value else "Infinity" if value > 0 else "-Infinity"


def nested(values: Sequence[Any], shape: Sequence[int]) -> Any:
    """Row-major values as lists of lists."""
    for size in reversed(shape[1:]):
        values = [values[start : start + size] for start in range(0, len(values), size)] if size else []
    return values if shape else values[0]


def read_values(tensor: TensorPiece) -> Sequence[float]:
    """The values of a tensor in row-major order."""
    little = sys.byteorder == "little"
    if tensor.dtype == "float16":
        return struct.unpack(f"<{len(tensor.data) // 2}e", tensor.data)
    if tensor.dtype == "bfloat16":
        # A bfloat16 is the upper half of the float32 of the same value.
        words = array("H", tensor.data)
        if not little:
            words.byteswap()
        return array("f", array("I", (word << 16 for word in words)).tobytes())
    values: array[Any] = array("q" if tensor.dtype == "int64" else "f", tensor.data)
    if not little:
        values.byteswap()
    return values


def write_safetensors(tensors: Mapping[str, TensorPiece], answer: str) -> bytes:
    """A safetensors file with the JSON answer under the key `answer` of its metadata."""
    header: dict[str, object] = {"__metadata__": {"answer": answer}}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + len(tensor.data)
        header[name] = {"dtype": FILE_DTYPES[tensor.dtype], "shape": tensor.shape, "data_offsets": [offset, end]}
        offset = end
    head = orjson.dumps(header)
    head += b" " * (-len(head) % 8)
    return b"".join([len(head).to_bytes(8, "little"), head, *(tensor.data for tensor in tensors.values())])
