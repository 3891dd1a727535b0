"""Draft models for the tests, and assisted decoding as the library does it."""

import copy
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any
from unittest.mock import patch

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.generation import AssistedCandidateGenerator

from beamhouse.config.settings import EngineSettings
from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.link.messages import Submission
from beamhouse.engine.loading.draft_models import Assistant
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from beamhouse.schemas.generation.field_rules import MODEL_DRAFT_FIELDS
from tests.parity.models import reference, served
from tests.parity.occurrences import penalized
from tests.parity.running import SETTINGS, library_config, prompt, submission

DRAFTERS: dict[str, dict[str, Any]] = {
    "prompt lookup": {"prompt_lookup_num_tokens": 6},
    "long n-grams": {"prompt_lookup_num_tokens": 3, "max_matching_ngram_size": 4},
    "model": {"num_assistant_tokens": 5, "assistant_confidence_threshold": 0.0},
    "unsure model": {"num_assistant_tokens": 5, "assistant_confidence_threshold": 0.5},
    "heuristic": {"num_assistant_tokens": 2, "num_assistant_tokens_schedule": "heuristic"},
    "ensemble": {"num_assistant_tokens": 4, "assistant_ensemble_weight": 0.6},
    "early exit": {"assistant_early_exit": 1, "num_assistant_tokens": 3},
}
BASES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sample": {"do_sample": True, "top_k": 0},
    "warped sample": {"do_sample": True, "temperature": 0.7, "top_k": 30},
    "processors": {
        "repetition_penalty": 1.3, "no_repeat_ngram_size": 3, "min_new_tokens": 9, "eos_token_id": [2, 7, 9],
    },
    "sample, processors": {
        "do_sample": True, "min_p": 0.01, "bad_words_ids": [[5], [6, 7]], "min_length": 20, "eos_token_id": [2, 7, 9],
    },
}  # fmt: skip

_get_candidates = AssistedCandidateGenerator.get_candidates


@cache
def draft_model(family: str) -> PreTrainedModel:
    """The first layer of the family's model as a model of its own: right now and then."""
    config = copy.deepcopy(reference(family).config)
    setattr(config, "n_layer" if family == "gpt2" else "num_hidden_layers", 1)
    model = AutoModelForCausalLM.from_config(config).eval()
    weights = reference(family).state_dict()
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    model.generation_config.update(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    return model


def make_engine(family: str, **settings: Any) -> Engine:
    """An engine of its own, with the draft model `draft`."""
    changed = EngineSettings(**(SETTINGS.model_dump() | settings))
    assistants = {"draft": Assistant(copy.deepcopy(draft_model(family)))}
    return assemble(served(family), changed, Extensions(Registry({}, {}), {}, assistants=assistants))[1]


@cache
def assisted_engine(family: str) -> Engine:
    return make_engine(family)


def _from_the_start(self: Any, input_ids: torch.Tensor, **kwargs: Any) -> Any:
    """The library feeds the whole sequence on top of the draft model's cache from the second round on, so that its
    drafts come from a context that repeats itself. And it takes drawn padding tokens for padding."""
    self.assistant_kwargs.pop("past_key_values", None)
    self.assistant_kwargs.pop("position_ids", None)
    self.assistant_kwargs["attention_mask"] = torch.ones_like(input_ids)
    return _get_candidates(self, input_ids, **kwargs)


def right_drafts() -> AbstractContextManager[Any]:
    """While this lasts the library's draft model, or its first layers, read the right context."""
    return patch.object(AssistedCandidateGenerator, "get_candidates", _from_the_start)


def steady_threshold() -> AbstractContextManager[Any]:
    """While this lasts the library never moves `assistant_confidence_threshold`, as without scikit-learn."""
    return patch("transformers.generation.candidate_generator.is_sklearn_available", lambda: False)


def generate_assisted(
    family: str,
    prompt_ids: list[int],
    fields: dict[str, Any],
    seed: int,
    *,
    with_model: bool,
    is_mended: bool = True,
    **more: Any,
) -> tuple[list[int], torch.Tensor]:
    """The library's tokens and scores, (L, V), where whoever drafts reads the right context, unless it is not mended.

    The draft settings stand where the library looks for them: in the generation config of who drafts. more: as
    `generate()` takes it.
    """
    model, draft = reference(family), draft_model(family) if with_model else None
    drafting = draft or model
    before = {name: getattr(drafting.generation_config, name) for name in MODEL_DRAFT_FIELDS}
    drafting.generation_config.update(**{name: fields.get(name) for name in MODEL_DRAFT_FIELDS})
    torch.manual_seed(seed)
    try:
        context = right_drafts() if is_mended else nullcontext()
        with torch.inference_mode(), penalized(family, fields, len(prompt_ids)), context, steady_threshold():
            out = model.generate(
                torch.tensor([prompt_ids]),
                generation_config=library_config(fields),
                assistant_model=draft,
                **more,
            )
    finally:
        drafting.generation_config.update(**before)
    return out.sequences[0, len(prompt_ids) :].tolist(), torch.cat(out.scores)


def asks_for_a_model(fields: dict[str, Any]) -> bool:
    return not {"prompt_lookup_num_tokens", "assistant_early_exit"} & set(fields)


def assisted(family: str, prompt_ids: list[int], fields: dict[str, Any], **outside: Any) -> Submission:
    name = "draft" if asks_for_a_model(fields) else None
    return submission(family, prompt_ids, fields, assistant_model=name, **outside)


def repeating(seed: int, family: str = "llama") -> list[int]:
    return prompt(seed, 7, family) * 4
