"""The trained classifier for SynthID's g-values."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from beamhouse.engine.watermark.synthid import Bits, Mask

Floats = npt.NDArray[np.float32]

_PREFIX = "likelihood_model_watermarked."
_PRIOR_MARGIN = np.float32(1e-5)
_SMALLEST = np.float32(1e-30)
_DTYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8")}


@dataclass(frozen=True, slots=True)
class BayesianWeights:
    """prior: the share of marked texts. beta: (depth,). delta: (depth, depth), of which the lower triangle counts."""

    prior: np.float32
    beta: Floats
    delta: Floats

    @classmethod
    def load(cls, file: Path, depth: int) -> Self:
        """Read what the library's `BayesianDetectorModel` saves as safetensors, or the same tensors as lists in JSON.

        Raises ValueError, or OSError if the file cannot be read.
        """
        tensors = _read(file)
        wanted = {"prior": (1,), _PREFIX + "beta": (depth,), _PREFIX + "delta": (depth, depth)}
        missing = wanted.keys() - tensors.keys()
        if missing:
            raise ValueError(f"{file} has no {', '.join(sorted(missing))}")
        parts = []
        for name, shape in wanted.items():
            try:
                tensor = np.asarray(tensors[name], np.float32)
            except (TypeError, ValueError):
                raise ValueError(f"{file}: {name} is not made of numbers") from None
            if tensor.size != np.prod(shape) or not np.isfinite(tensor).all():
                raise ValueError(f"{file}: {name} must hold {np.prod(shape)} finite numbers, for {depth} keys")
            parts.append(tensor.reshape(shape))
        return cls(parts[0][0], parts[1], np.tril(parts[2], -1))

    def posterior(self, g_values: Bits, mask: Mask) -> float:
        """How likely the text is marked. g_values: (N, depth); mask: (N,), the tokens that count.

        Each layer's tournament had two different tokens with the probability that a logistic regression over the bits
        of the layers before it gives. Equals transformers.BayesianDetectorModel.
        """
        bits = g_values.astype(np.float32)
        two_tokens = 1 / (1 + np.exp(-(bits @ self.delta.T + self.beta)))  # (N, depth)
        likelihoods = np.float32(0.5) * ((bits + np.float32(0.5)) * two_tokens + (1 - two_tokens))
        odds = np.log(np.maximum(likelihoods, _SMALLEST)) - np.log(np.float32(0.5))
        prior = np.clip(self.prior, _PRIOR_MARGIN, 1 - _PRIOR_MARGIN)
        surprisal = float(odds[mask].sum(dtype=np.float64) + np.log(prior) - np.log(1 - prior))
        return float(1 / (1 + np.exp(-np.clip(surprisal, -700, 700))))


def _read(file: Path) -> dict[str, Any]:
    if file.suffix == ".safetensors":
        try:
            return _parse_safetensors(file.read_bytes())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file} is not a safetensors file of float16, float32 or float64") from error
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(f"{file} is not JSON") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file} is not a JSON object of tensors")
    return content


def _parse_safetensors(content: bytes) -> dict[str, Any]:
    """The length of the header in 8 bytes, the header as JSON, and then the numbers it speaks of."""
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, end = entry["data_offsets"]
            tensors[name] = np.frombuffer(content[begin + first : begin + end], _DTYPES[entry["dtype"]])
    return tensors
