"""Every decoding mode as a request asks for it: which one runs, what it is given, and what is refused by name."""

import pytest
from msgspec import structs

from beamhouse.engine.link.messages import Wanted
from tests.fakes import fake_info
from tests.http.problems import check_problem

pytestmark = pytest.mark.anyio

BEAMS = {"num_beams": 4}
GROUPS = {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5}
CONTRASTIVE = {"penalty_alpha": 0.6, "top_k": 4}

MODES = [
    ({}, {}, "greedy_search"),
    ({"do_sample": True}, {}, "sample"),
    (BEAMS, {}, "beam_search"),
    (BEAMS | {"do_sample": True}, {}, "beam_sample"),
    (GROUPS, {}, "group_beam_search"),
    (BEAMS | {"force_words_ids": [[5]]}, {}, "constrained_beam_search"),
    (BEAMS, {"force_words": ["cat"]}, "constrained_beam_search"),
    (
        BEAMS | {"constraints": [{"type": "ordered", "phrases": [[5], [6, 7]]}]},
        {},
        "constrained_beam_search",
    ),
    (CONTRASTIVE, {}, "contrastive_search"),
    ({"dola_layers": "low"}, {}, "dola_generation"),
    ({"prompt_lookup_num_tokens": 3}, {}, "assisted_generation"),
    ({}, {"assistant_model": "draft"}, "assisted_generation"),
    ({"do_sample": True}, {"assistant_model": "draft"}, "assisted_generation"),
]


async def refused(client, **body):
    """Pointer, code and message of each error."""
    problem = check_problem(await client.post("/generate", json={"inputs": [3], **body}), 422)
    return [(error["pointer"], error["code"], error["message"]) for error in problem["errors"]]


@pytest.mark.parametrize(("config", "beside", "mode"), MODES, ids=lambda value: str(value)[:50])
async def test_the_fields_pick_the_mode_and_stating_it_changes_nothing(client, engine, config, beside, mode):
    config = config | {"max_new_tokens": 2}
    for stated in ({}, {"mode": mode}):
        response = await client.post("/generate", json={"inputs": [3], "generation_config": config, **beside, **stated})
        assert response.status_code == 200, response.text
        assert response.json()["mode"] == mode
    assert [item.config.assistant_model for item in engine.submissions] == [beside.get("assistant_model")] * 2


@pytest.mark.parametrize(
    ("stated", "config", "beside", "message"),
    [
        ("greedy_search", BEAMS, {}, "mode is greedy_search, but num_beams (4) asks for beam_search"),
        (
            "beam_search",
            GROUPS,
            {},
            "mode is beam_search, but num_beam_groups (2) and num_beams (4) ask for group_beam_search",
        ),
        (
            "sample",
            {"do_sample": True},
            {"assistant_model": "draft"},
            'mode is sample, but assistant_model ("draft") asks for assisted_generation',
        ),
        ("sample", {}, {}, "mode is sample, but without do_sample the configuration asks for greedy_search"),
        (
            "beam_search",
            BEAMS,
            {"force_words": ["a"]},
            "mode is beam_search, but force_words (a list of 1) asks for constrained_beam_search",
        ),
        (
            "greedy_search",
            CONTRASTIVE,
            {},
            "mode is greedy_search, but penalty_alpha (0.6) and top_k (4) ask for contrastive_search",
        ),
    ],
)
async def test_a_mode_that_contradicts_the_fields_is_refused_by_their_names(client, stated, config, beside, message):
    errors = await refused(client, mode=stated, generation_config=config, **beside)
    assert errors == [("/mode", "conflict", message)]


@pytest.mark.parametrize(
    ("config", "beside", "pointers"),
    [
        (BEAMS, {"assistant_model": "draft"}, {"/assistant_model"}),
        (GROUPS, {"assistant_model": "draft"}, {"/assistant_model"}),
        (CONTRASTIVE, {"assistant_model": "draft"}, {"/assistant_model"}),
        (BEAMS, {"assistant_model": "draft", "force_words": ["a"]}, {"/assistant_model"}),
        ({"dola_layers": "low"}, {"assistant_model": "draft"}, {"/generation_config/dola_layers"}),
        ({"dola_layers": "low", **BEAMS}, {}, {"/generation_config/dola_layers"}),
        ({"dola_layers": [2]}, {}, {"/generation_config/dola_layers"}),
        ({"assistant_early_exit": 3}, {}, {"/generation_config/assistant_early_exit"}),
        (
            {"prompt_lookup_num_tokens": 3},
            {"assistant_model": "draft"},
            {"/generation_config/prompt_lookup_num_tokens"},
        ),
        (
            {"num_return_sequences": 2, "do_sample": True},
            {"assistant_model": "draft"},
            {"/generation_config/num_return_sequences"},
        ),
        (CONTRASTIVE | {"num_return_sequences": 2}, {}, {"/generation_config/num_return_sequences"}),
        (BEAMS | {"num_return_sequences": 5}, {}, {"/generation_config/num_return_sequences"}),
        ({}, {"force_words": ["a"]}, {"/force_words"}),
        (BEAMS | {"do_sample": True}, {"force_words": ["a"]}, {"/force_words"}),
        (GROUPS, {"force_words": ["a"]}, {"/force_words"}),
        (BEAMS, {"force_words": [["a", "ab"]]}, {"/force_words"}),
        ({"force_words_ids": [[5]]}, {"force_words": ["a"]}, {"/generation_config/force_words_ids"}),
        (GROUPS | {"do_sample": True}, {}, {"/generation_config/num_beam_groups"}),
        (GROUPS | {"num_beams": 3}, {}, {"/generation_config/num_beam_groups"}),
        (GROUPS | {"diversity_penalty": 0.0}, {}, {"/generation_config/diversity_penalty"}),
        (
            BEAMS | {"constraints": [{"type": "ordered", "phrases": [[5], [256]]}]},
            {},
            {"/generation_config/constraints"},
        ),
        (BEAMS | {"force_words_ids": [[256]]}, {}, {"/generation_config/force_words_ids"}),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_does_not_go_together_is_refused_before_anything_runs(client, engine, config, beside, pointers):
    errors = await refused(client, generation_config=config, **beside)
    assert {pointer for pointer, _, _ in errors} == pointers
    assert engine.submissions == []


async def test_a_draft_model_that_is_not_loaded_is_refused_with_those_that_are(client):
    ((pointer, code, message),) = await refused(client, assistant_model="other")
    assert (pointer, code) == ("/assistant_model", "unknown_name")
    assert message.endswith("known: draft")


async def test_the_draft_model_s_own_values_hold_where_the_request_is_silent(client, engine):
    config = {"assistant_confidence_threshold": 0.75}
    body = {"inputs": [3], "assistant_model": "draft", "generation_config": config}
    answer = (await client.post("/generate", json=body)).json()
    resolved = engine.submissions[0].config
    assert (resolved.num_assistant_tokens, resolved.assistant_confidence_threshold) == (7, 0.75)
    assert answer["warnings"] == []
    assert (answer["usage"]["drafted_tokens"], answer["usage"]["accepted_tokens"]) == (4, 3)


async def test_fields_of_drafting_without_a_drafter_are_warned_about(client):
    body = {"inputs": [3], "generation_config": {"num_assistant_tokens": 5}}
    (warning,) = (await client.post("/generate", json=body)).json()["warnings"]
    assert warning.startswith("num_assistant_tokens has no effect")


@pytest.mark.parametrize(
    ("config", "beside", "field"),
    [
        ({"num_beams": 7}, {}, "num_beams"),
        ({"num_beams": 5, "guidance_scale": 2.0}, {}, "num_beams"),
        ({"do_sample": True, "num_return_sequences": 9}, {}, "num_return_sequences"),
        ({"do_sample": True, "num_return_sequences": 5, "guidance_scale": 2.0}, {}, "num_return_sequences"),
        ({"penalty_alpha": 0.6, "top_k": 9}, {}, "top_k"),
        ({"penalty_alpha": 0.6}, {}, "top_k"),
    ],
)
async def test_more_rows_than_a_step_has_are_refused_by_the_field_that_asks_for_them(client, config, beside, field):
    ((pointer, code, message),) = await refused(client, generation_config=config, **beside)
    assert (pointer, code) == (f"/generation_config/{field}", "out_of_range")
    assert "allowed" in message


async def test_the_limit_on_beams_is_named(client):
    ((_, _, message),) = await refused(client, generation_config={"num_beams": 7})
    assert message == "num_beams is 7; allowed on this server: at most 6"


async def test_prompts_wait_for_one_another_so_that_only_one_must_fit_a_step(client, engine):
    config = {"num_beams": 6, "max_new_tokens": 1}
    response = await client.post("/generate", json={"inputs": [[n] for n in range(20)], "generation_config": config})
    assert response.status_code == 200
    assert len(engine.submissions) == 20


async def test_one_guided_row_needs_room_for_two(connect, engine, tokenizer_file):
    engine.info = fake_info(tokenizer_file, max_rows=1)
    errors = await refused(await connect(), generation_config={"guidance_scale": 2.0})
    assert [(pointer, code) for pointer, code, _ in errors] == [("/generation_config/guidance_scale", "out_of_range")]


@pytest.mark.parametrize(
    ("file", "request_fields", "mode"),
    [
        ({"num_beams": 3, "length_penalty": 0.5}, {}, "beam_search"),
        ({"do_sample": True, "top_k": 7}, {}, "sample"),
        ({"num_beams": 3, "do_sample": True}, {}, "beam_sample"),
        ({"num_beams": 3}, {"num_beams": 1}, "greedy_search"),
        ({"penalty_alpha": 0.6, "top_k": 4}, {}, "contrastive_search"),
        ({"prompt_lookup_num_tokens": 2}, {}, "assisted_generation"),
        ({"num_beams": 3, "force_words_ids": [[4]]}, {}, "constrained_beam_search"),
    ],
)
async def test_a_silent_request_obeys_the_model_s_own_file(connect, engine, tokenizer_file, file, request_fields, mode):
    engine.info = fake_info(tokenizer_file, generation_config=file)
    client = await connect()
    answer = (await client.post("/generate", json={"inputs": [3], "generation_config": request_fields})).json()
    assert (answer["mode"], answer["warnings"]) == (mode, [])
    assert engine.submissions[0].config.set_fields().items() >= (file | request_fields).items()
    defaults = (await client.get("/generation_config")).json()
    assert request_fields or defaults["mode"] == mode


async def test_a_configuration_is_checked_together_with_a_draft_model(client):
    async def validate(config, **beside):
        body = {"generation_config": config, **beside}
        return (await client.post("/generation_config/validate", json=body)).json()

    good = await validate({"do_sample": True}, assistant_model="draft")
    assert (good["is_valid"], good["mode"]) == (True, "assisted_generation")
    assert good["generation_config"]["num_assistant_tokens"] == 7
    bad = await validate({"num_beams": 2}, assistant_model="draft")
    assert [problem["pointer"] for problem in bad["problems"]] == ["/assistant_model"]
    unknown = await validate({}, assistant_model="other")
    assert [problem["code"] for problem in unknown["problems"]] == ["unknown_name"]
    layers = await validate({"dola_layers": [5]})
    assert [problem["pointer"] for problem in layers["problems"]] == ["/generation_config/dola_layers"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (True, Wanted(transition_scores=True, normalize_logits=None)),
        ({"normalize_logits": True}, Wanted(transition_scores=True, normalize_logits=True)),
        ({"normalize_logits": False}, Wanted(transition_scores=True, normalize_logits=False)),
        (False, Wanted()),
    ],
)
async def test_transition_scores_are_normalised_as_asked_or_as_the_mode_has_them(client, engine, asked, expected):
    await client.post("/generate", json={"inputs": [3], "outputs": {"transition_scores": asked}})
    assert engine.submissions[0].wanted == expected


async def test_warnings_of_the_engine_come_once_behind_those_of_the_configuration(client, engine):
    finish = engine.finish
    engine.finish = lambda submission: structs.replace(finish(submission), warnings=["a draft was cut"])
    body = {"inputs": [[3], [4]], "generation_config": {"num_assistant_tokens": 5}}
    first, second = (await client.post("/generate", json=body)).json()["warnings"]
    assert first.startswith("num_assistant_tokens has no effect")
    assert second == "a draft was cut"
