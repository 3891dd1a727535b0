"""docs/migrate.md: every field of those who come from elsewhere has a row, and what it becomes is there."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import TextGenerationInputGenerateParameters
from text_generation.types import Parameters
from transformers import GenerationMixin

from beamhouse.server.app import create_app
from tests.fakes import FakeEngine
from tests.http.conftest import make_settings

PAGE = (Path(__file__).parents[2] / "docs" / "migrate.md").read_text(encoding="utf-8")
DOCUMENT = create_app(FakeEngine(None), make_settings()).openapi()
# Of vLLM 0.33, by what they are about; those for several machines and other media are left out.
VLLM = """
    model prompt prompt_embeds messages suffix echo user
    max_tokens max_completion_tokens min_tokens n best_of seed stream stream_options stream_interval
    temperature top_p top_k min_p frequency_penalty presence_penalty repetition_penalty repetition_detection
    use_beam_search length_penalty stop stop_token_ids include_stop_str_in_output ignore_eos
    logprobs top_logprobs prompt_logprobs logprob_token_ids logit_bias allowed_token_ids bad_words
    skip_special_tokens spaces_between_special_tokens add_special_tokens truncate_prompt_tokens truncation_side
    response_format structured_outputs tools tool_choice parallel_tool_calls reasoning_effort include_reasoning
    add_generation_prompt continue_final_message documents chat_template chat_template_kwargs
    return_tokens_as_token_ids return_token_ids cache_salt priority request_id session_id watermarking vllm_xargs
    thinking_token_budget
"""
THEIRS = {
    "text-generation-inference": ["inputs", "stream", *inspect.get_annotations(TextGenerationInputGenerateParameters)],
    "vLLM": VLLM.split(),
    "`model.generate()`": [name for name in inspect.signature(GenerationMixin.generate).parameters if name != "self"],
}


def tables() -> dict[str, list[tuple[list[str], list[str]]]]:
    """By where one comes from: for each row, the fields there and the places here."""
    sections = re.split(r"^## From ", PAGE, flags=re.MULTILINE)[1:]
    return {section.partition("\n")[0]: rows(section) for section in sections}


def rows(section: str) -> list[tuple[list[str], list[str]]]:
    lines = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return [(re.findall(r"`([^`]+)`", theirs), re.findall(r"`([^`]+)`", ours)) for theirs, ours, *_ in lines]


def body_of(path: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return found


def fields_of(schema: dict[str, Any]) -> dict[str, Any]:
    """The fields of whatever objects a schema may be."""
    if "$ref" in schema:
        return fields_of(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    branches = [fields_of(branch) for branch in schema.get("anyOf", schema.get("oneOf", []))]
    return {name: field for found in [schema.get("properties", {}), *branches] for name, field in found.items()}


@pytest.mark.parametrize("origin", THEIRS)
def test_every_field_of_theirs_has_a_row(origin):
    told = {name for theirs, _ in tables()[origin] for name in theirs}
    assert set(THEIRS[origin]) <= told


def test_both_clients_of_tgi_know_these_fields():
    assert set(Parameters.model_fields) <= set(THEIRS["text-generation-inference"])


@pytest.mark.parametrize(
    ("theirs", "ours"), [pytest.param(*row, id=row[0][0]) for found in tables().values() for row in found]
)
def test_what_a_field_becomes_is_there(theirs, ours):
    paths = [place for place in ours if place.startswith("/")] or ["/generate"]
    for place in ours:
        if place.startswith("/"):
            assert body_of(place)
            continue
        for path in paths:
            schema = body_of(path)
            for name in place.split("."):
                assert name in fields_of(schema), f"{place} of {path}"
                schema = fields_of(schema)[name]
