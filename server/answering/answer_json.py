"""The JSON of an answer, put together piece by piece.

It runs in a worker thread. Each piece is written by one call that holds the interpreter, so none of them is large: the
event loop gets its turn in between, however large the whole is.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from fastapi import Response
from numpy.typing import NDArray

from beamhouse.engine.link.messages import LikelyTokens, TensorPiece
from beamhouse.engine.text.tokenizer import Text
from beamhouse.schemas.beamhouse.answers import Answer
from beamhouse.schemas.beamhouse.generate import Outputs
from beamhouse.server.answering.answer import OutputRow, say_top_tokens
from beamhouse.server.answering.tensors import encode_tensors, in_json, read_likely, read_values

encode_json = msgspec.json.Encoder().encode


def json_response(content: object) -> Response:
    """An answer whose content one call encodes."""
    return Response(encode_json(content), media_type="application/json")


def answer_json(
    answer: Answer,
    outputs: Outputs,
    rows: Sequence[OutputRow],
    tensors: Mapping[str, TensorPiece],
    likely: Sequence[LikelyTokens],
    text: Text | None,
) -> bytes:
    """outputs: what was asked for. rows: those of the answer, in order. tensors: by name, those that go into it.

    likely: of each prompt, if asked for.
    """
    content: dict[str, Any] = answer.model_dump(mode="json", exclude_none=True)
    for sequence, row in zip(content["sequences"], rows, strict=True):
        if outputs.top_n_tokens:
            sequence["top_tokens"] = top_tokens_json(row, text)
    if likely:
        content["prompt_top_tokens"] = listed(likely_tokens_json(piece, text) for piece in likely)
    if tensors:
        is_text = outputs.tensors == "base64"
        content["tensors"] = (
            encode_tensors(tensors) if is_text else {name: tensor_json(tensor) for name, tensor in tensors.items()}
        )
    return encode_json(content)


def top_tokens_json(row: OutputRow, text: Text | None) -> msgspec.Raw:
    """A list for each position, written one by one."""
    return listed(encode_json(tops) for position in row.top_tokens for tops in say_top_tokens([position], text))


def likely_tokens_json(likely: LikelyTokens, text: Text | None) -> msgspec.Raw:
    """A list for each position of a prompt but the first, written one by one."""
    return listed(
        b"null" if tops is None else encode_json(said)
        for tops in read_likely(likely)
        for said in say_top_tokens([tops or []], text)
    )


def tensor_json(tensor: TensorPiece) -> msgspec.Raw:
    """Nested lists of numbers; NaN is null, infinities are the texts `Infinity` and `-Infinity`."""
    return nested_json(read_values(tensor))


def nested_json(values: NDArray[Any]) -> msgspec.Raw:
    """Row by row, so that no call writes much."""
    return listed(map(nested_json, values)) if values.ndim > 1 else msgspec.Raw(encode_json(in_json(values)))


def listed(items: Iterator[bytes | msgspec.Raw]) -> msgspec.Raw:
    return msgspec.Raw(b"[" + b",".join(bytes(item) for item in items) + b"]")
