"""Writes what `generate()` of the installed transformers answers to the golden cases. Needs nothing but it and torch.

    python make_golden.py --models FOLDER --cases cases.json --out golden_VERSION.json.gz

Each case starts from the same state: fresh generation configs, no cache left on a model, the generator seeded right
before the call. One thread and eager attention, so that two runs write the same bytes.
"""

import argparse
import copy
import gzip
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, GenerationConfig

NUM_TOP = 4
NUM_STEPS = 6
LEFTOVERS = ("_cache", "_previous_max_cache_length")


class Models:
    """The models of a folder, each as it was loaded whenever it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: dict[str, tuple[Any, Any]] = {}

    def take(self, name: str) -> Any:
        """A model without traces of earlier calls: the library writes into its generation config and keeps caches."""
        if name not in self._loaded:
            path = self._folder / name
            model = AutoModelForCausalLM.from_pretrained(path, torch_dtype=torch.float32, attn_implementation="eager")
            self._loaded[name] = (model.eval(), copy.deepcopy(model.generation_config))
        model, untouched = self._loaded[name]
        model.generation_config = copy.deepcopy(untouched)
        for leftover in LEFTOVERS:
            if hasattr(model, leftover):
                delattr(model, leftover)
        return model

    def digests(self) -> dict[str, str]:
        """The digests that were written beside the weights."""
        return {path.parent.name: path.read_text() for path in sorted(self._folder.glob("*/sha256"))}


def constraint(data: dict[str, Any]) -> Any:
    """The library's object for a constraint given as data."""
    library: Any = transformers  # the version that is installed where this is checked has no constraints
    if data["type"] == "phrasal":
        return library.PhrasalConstraint(data["token_ids"])
    return library.DisjunctiveConstraint(data["nested_token_ids"])


def arguments(case: dict[str, Any], models: Models) -> dict[str, Any]:
    """The keyword arguments of `generate()` for a case."""
    fields = dict(case["fields"], return_dict_in_generate=True, output_scores=True)
    watermark = fields.pop("watermarking_config", None)
    if watermark is not None:
        fields["watermarking_config"] = transformers.WatermarkingConfig(**watermark)
    if "constraints" in fields:
        fields["constraints"] = [constraint(data) for data in fields["constraints"]]
    prompt = torch.tensor([case["prompt_ids"]])
    given: dict[str, Any] = {
        "input_ids": prompt,
        "attention_mask": torch.ones_like(prompt),
        "generation_config": GenerationConfig(**fields),
    }
    if case["negative_prompt_ids"]:
        given["negative_prompt_ids"] = torch.tensor([case["negative_prompt_ids"]])
    if case["draft"] is not None:
        given["assistant_model"] = models.take(case["family"] + "-draft")
        for name, value in case["draft"].items():
            setattr(given["assistant_model"].generation_config, name, value)
    return given


def answer(case: dict[str, Any], models: Models) -> dict[str, Any]:
    """What the library answers to one case."""
    model, given = models.take(case["family"]), arguments(case, models)
    mode = given["generation_config"].get_generation_mode(given.get("assistant_model")).value
    assert mode == case["mode"], (case["id"], mode)
    torch.manual_seed(case["seed"])
    with torch.inference_mode():
        out = model.generate(**given)
    found = {
        "mode": mode,
        "sequences": out.sequences[:, len(case["prompt_ids"]) :].tolist(),
        "scores": [[top(row) for row in step] for step in out.scores[:NUM_STEPS]],
        "num_steps": len(out.scores),
    }
    beam_indices, sequences_scores = out.get("beam_indices"), out.get("sequences_scores")
    if sequences_scores is not None:
        found["sequences_scores"] = exact(sequences_scores)
        # A constrained search forgets them where the length limit ends it; nothing can be read off the scores then.
        # Those of groups are numbered wrongly, and what is read off with them can even be out of range.
        if beam_indices is None or mode == "group_beam_search":
            return found
        found["beam_indices"] = beam_indices.tolist()
    transitions = model.compute_transition_scores(out.sequences, out.scores, beam_indices, normalize_logits=False)
    return dict(found, transition_scores=[exact(row) for row in transitions])


def top(row: torch.Tensor) -> list[tuple[int, float]]:
    """The largest entries of a row of scores, as token and value; of equals the lowest token first."""
    values, tokens = row.sort(descending=True, stable=True)
    return list(zip(tokens[:NUM_TOP].tolist(), exact(values[:NUM_TOP]), strict=True))


def exact(values: torch.Tensor) -> list[Any]:
    """Numbers of as few digits as give the same float32 again. Infinities become text, for strict readers of JSON."""
    return [float(str(value)) if np.isfinite(value) else str(value) for value in values.float().numpy()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--models", "--cases", "--out"):
        parser.add_argument(name, type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    models = Models(given.models)
    answers = {case["id"]: answer(case, models) for case in json.loads(given.cases.read_text(encoding="utf-8"))}
    golden = {
        "transformers": transformers.__version__,
        "torch": torch.__version__.split("+")[0],
        "weights": models.digests(),
        "answers": answers,
    }
    text = json.dumps(golden, allow_nan=False, separators=(",", ":"))
    given.out.write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
