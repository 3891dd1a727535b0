"""Constraints in text over HTTP: the text a client gets is one that its grammar allows."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from beamhouse.server.command.bench.wire import events
from tests.deploy.processes import Replica
from tests.engine.text.tiny_tokenizers import FAMILIES, end_of_word, save

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "rows": {"type": "array", "maxItems": 2, "items": {"type": "array", "maxItems": 2, "items": {"enum": [1, 22]}}},
    },
    "required": ["name", "rows"],
    "additionalProperties": False,
}
ANY_BLANKS = re.compile(r"[ \n\r\t]+")


def ask(server: Replica, rule: dict[str, Any], **fields: Any) -> dict[str, Any]:
    config = {"max_new_tokens": 120, **fields.pop("config", {})}
    body = {"inputs": "Once upon a time", "prefix_allowed_tokens": rule, "generation_config": config, **fields}
    answer = httpx.post(f"{server.url}/generate", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()


def outside_strings(text: str) -> str:
    return re.sub(r'"(?:\\.|[^"\\])*"', '""', text)


def test_json_by_schema_is_whole_and_its_end_comes_at_once(server: Replica) -> None:
    for seed in range(4):
        answer = ask(server, {"json_schema": SCHEMA}, seed=seed, config={"do_sample": bool(seed)})
        (row,) = answer["sequences"]
        assert row["finish_reason"]["type"] == "eos_token"
        assert set(json.loads(row["text"])) == {"name", "rows"}
        assert row["text"].endswith("}")
        assert set(ANY_BLANKS.findall(outside_strings(row["text"]))) <= {" "}


def test_white_space_is_what_was_asked_for(server: Replica) -> None:
    def drawn(**rule: Any) -> str:
        rows = ask(
            server,
            rule,
            seed=5,
            config={"do_sample": True, "temperature": 9.0, "num_return_sequences": 8, "eos_token_id": 2},
        )["sequences"]
        return "".join(outside_strings(row["text"]) for row in rows)

    inline = f"start: %json {json.dumps(SCHEMA)}"
    own = {**SCHEMA, "x-guidance": {"whitespace_flexible": False}}
    assert not ANY_BLANKS.search(drawn(json_schema=SCHEMA, whitespace="compact"))
    assert not ANY_BLANKS.search(drawn(grammar=inline, whitespace="compact"))
    assert not ANY_BLANKS.search(drawn(json_schema=own))
    assert set(ANY_BLANKS.findall(drawn(grammar=inline))) == {" "}
    assert set(ANY_BLANKS.findall(drawn(json_schema=own, whitespace="single"))) == {" "}
    assert set(ANY_BLANKS.findall(drawn(json_schema=SCHEMA, whitespace="free"))) - {" "}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"config": {"num_beams": 3, "num_return_sequences": 2}},
        {"config": {"token_healing": True}},
        {"config": {"stop_strings": ["unheard of"]}},
        {"config": {"prompt_lookup_num_tokens": 3}},
        {"config": {"do_sample": True, "num_return_sequences": 4}, "seed": 7},
    ],
)
def test_the_text_matches_its_expression(server: Replica, fields: dict[str, Any]) -> None:
    for rule in ("a</s>b|<pad>", " (yes|no way)", "[a-z]{3}( [a-z]{3}){0,2}\\.", "\u00e9{1,3}\u6771"):
        for row in ask(server, {"regex": rule}, **fields)["sequences"]:
            assert row["finish_reason"]["type"] == "eos_token"
            assert re.fullmatch(rule, row["text"])


def test_a_stop_string_ends_a_text_in_the_middle_of_its_grammar(server: Replica) -> None:
    (row,) = ask(server, {"regex": "abc{50}"}, config={"stop_strings": ["ccc"]})["sequences"]
    assert row["finish_reason"] == {"type": "stop_string", "stop_string": "ccc"}
    assert re.fullmatch("abc{3,}", row["text"])


def test_a_stream_brings_the_same_text(server: Replica) -> None:
    plain = ask(server, {"json_schema": SCHEMA})["generated_text"]
    body = {
        "inputs": "Once upon a time", "prefix_allowed_tokens": {"json_schema": SCHEMA}, "stream": True,
        "generation_config": {"max_new_tokens": 120},
    }  # fmt: skip
    answer = httpx.post(f"{server.url}/generate", json=body, timeout=120)
    pieces = [data.get("text", "") for _, name, data in events([(0.0, answer.content)]) if name in ("token", "tokens")]
    assert "".join(pieces) == plain


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"regex": "(a"}, "unclosed"),
        ({"regex": "ab?" * 20_000}, "too big"),
        ({"json_schema": {"type": "array", "uniqueItems": True}}, "uniqueItems"),
        ({"json_schema": {"type": "integer", "maximum": 10**40, "multipleOf": 7.123456789012}}, "multipleOf"),
        ({"json_schema": {"allOf": [{"oneOf": [{"nullable": True}]}]}}, "nullable"),
        ({"grammar": "start: other"}, "other"),
        ({"grammar": "start: " + "(" * 20_000}, "nested"),
        ({"regex": "a", "whitespace": "free"}, "whitespace"),
        ({"json_schema": {}, "whitespace": "some"}, "compact"),
    ],
)
def test_what_cannot_be_obeyed_is_refused_before_anything_is_answered(
    server: Replica, rule: dict[str, Any], words: str, stream: bool
) -> None:
    body = {"inputs": "a", "prefix_allowed_tokens": rule, "stream": stream}
    answer = httpx.post(f"{server.url}/generate", json=body, timeout=120)
    assert answer.status_code == 422
    (problem,) = answer.json()["errors"]
    assert problem["pointer"].startswith("/prefix_allowed_tokens")
    assert words in problem["message"]


def test_a_chain_of_rules_that_would_overflow_a_stack_is_followed(server: Replica) -> None:
    chain = "start: r0\n" + "\n".join(f"r{n}: r{n + 1}" for n in range(4000)) + '\nr4000: "end"'
    assert ask(server, {"grammar": chain})["generated_text"] == "end"


KINDS = {**FAMILIES, "end_of_word": end_of_word}
RULES = ["the (bear|house)\\.", "[a-z]{2,9}( [a-z]{2,9})*[.!?]", "(bear|honey)+", "there( there){0,3}"]
SPACED = [" the (bear|house)", "  x?a"]
TEXT_FIRST = ("word_piece", "end_of_word")
"""Kinds of tokenizers whose text cannot begin with a space."""


@pytest.fixture(scope="module", params=list(KINDS))
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Replica]]:
    """A random model with a tokenizer of some kind, served: its rows of logits are more than the tokenizer's."""
    directory: Path = tmp_path_factory.mktemp(request.param)
    tokenizer = KINDS[request.param]()
    save(tokenizer, directory)
    torch.manual_seed(3)
    size, eos = tokenizer.get_vocab_size() + 9, tokenizer.token_to_id("</s>")
    config = LlamaConfig(
        vocab_size=size, max_position_embeddings=512, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, eos_token_id=eos,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(directory)
    replica = Replica(directory / "server.log", str(directory), "--dtype", "float32")
    replica.start()
    replica.wait_ready()
    yield request.param, replica
    replica.stop()


@pytest.mark.slow
def test_every_kind_of_tokenizer_matches_the_text_that_the_client_gets(tiny: tuple[str, Replica]) -> None:
    kind, server = tiny
    for rule in RULES + ([] if kind in TEXT_FIRST else SPACED):
        for config in ({}, {"num_beams": 2}, {"do_sample": True, "num_return_sequences": 5}):
            rows = ask(server, {"regex": rule}, config=config, seed=1)["sequences"]
            ended = [row["text"] for row in rows if row["finish_reason"]["type"] == "eos_token"]
            assert all(re.fullmatch(rule, text) for text in ended), (rule, ended)
