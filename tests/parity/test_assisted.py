"""Assisted decoding: the tokens of `generate()` with the same drafts and seed, alone and in company."""

from typing import Any

import pytest
import torch

from beamhouse.engine.decoding.assisted import Assistants, Assisted
from beamhouse.engine.link.messages import Submission
from beamhouse.engine.loop.engine import Engine
from beamhouse.schemas.generation.modes import GenerationMode
from tests.parity.drafting import (
    BASES,
    DRAFTERS,
    asks_for_a_model,
    assisted,
    assisted_engine,
    generate_assisted,
    make_engine,
    repeating,
)
from tests.parity.models import reference
from tests.parity.rounding import assert_same_scores
from tests.parity.running import alone, engine_of, prompt, run, submission

# The library runs all layers of GPT-2 for an early exit, over a cache for the first ones, and fails.
CASES = [
    *(("llama", drafter, base) for drafter in DRAFTERS for base in BASES),
    *(("gpt2", drafter, base) for drafter in ("prompt lookup", "model") for base in BASES),
    *(("gemma3", drafter, base) for drafter in ("heuristic", "early exit") for base in ("greedy", "sample")),
]


def used_blocks(engine: Engine) -> tuple[int, ...]:
    """Of the main cache, and of every draft model's."""
    assistants = assistants_of(engine)
    runners = [assistants.models["draft"].runner, assistants.early_exit.model.runner]
    return engine.cache.num_used, *(runner.cache.num_used for runner in runners)


@pytest.mark.parametrize(("family", "drafter", "base"), CASES)
def test_alone_equals_generate(family: str, drafter: str, base: str) -> None:
    fields = DRAFTERS[drafter] | BASES[base] | {"max_new_tokens": 24, "output_scores": True}
    for seed, prompt_ids in ((1, prompt(1, 1, family)), (2, repeating(2, family)), (3, prompt(3, 60, family))):
        asked = {name: value for name, value in fields.items() if name != "output_scores"}
        expected, scores = generate_assisted(family, prompt_ids, asked, seed, with_model=asks_for_a_model(fields))
        answer = alone(assisted_engine(family), assisted(family, prompt_ids, fields, seed=seed))
        assert answer.sequences == [expected]
        assert_same_scores(answer.tensor("scores")[:, 0], scores)


@pytest.mark.parametrize(("drafter", "seed"), [("model", 0), ("early exit", 7)])
def test_drafts_of_the_library_as_it_is_change_drawn_tokens_but_no_greedy_ones(drafter: str, seed: int) -> None:
    is_same = {}
    for base in ("greedy", "warped sample"):
        fields = DRAFTERS[drafter] | BASES[base] | {"max_new_tokens": 24}
        with_model = asks_for_a_model(fields)
        right, as_it_is = (
            generate_assisted(
                "llama", prompt(seed, 1, "llama"), fields, seed, with_model=with_model, is_mended=is_mended
            )[0]
            for is_mended in (True, False)
        )
        is_same[base] = right == as_it_is
    assert is_same == {"greedy": True, "warped sample": False}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"cache_tokens": 8 * 16, "block_size": 8},
        {"step_tokens": 12, "max_rows": 8},
        {"cache_tokens": 8 * 14, "block_size": 8, "max_rows": 6},
    ],
)
def test_in_company_equals_generate(settings: dict[str, int]) -> None:
    engine = make_engine("llama", **settings)
    arrivals: dict[int, list[Submission]] = {}
    expected = {}
    cases = [(drafter, base) for drafter in DRAFTERS for base in ("greedy", "sample")]
    for number, (drafter, base) in enumerate(cases):
        fields = DRAFTERS[drafter] | BASES[base] | {"max_new_tokens": 6 + number}
        prompt_ids = repeating(number) if number % 2 else prompt(number, 1 + 5 * number, "llama")
        one = assisted("llama", prompt_ids, fields, seed=number)
        arrivals.setdefault(number // 3, []).append(one)
        expected[one.request_id], _ = generate_assisted(
            "llama", prompt_ids, fields, number, with_model=asks_for_a_model(fields)
        )
    plain = submission("llama", prompt(9, 12, "llama"), {"max_new_tokens": 30})
    arrivals[2].append(plain)
    answers = run(engine, arrivals)
    expected[plain.request_id] = alone(engine_of("llama"), plain).sequences[0]
    assert {name: answer.sequences[0] for name, answer in answers.items()} == expected
    assert used_blocks(engine) == (0, 0, 0)
    assert (engine.scheduler.num_preemptions > 0) == ("cache_tokens" in settings)


def test_drafting_requests_share_the_passes_of_the_draft_model() -> None:
    engine = make_engine("llama")
    runner = assistants_of(engine).models["draft"].runner.runner
    forward, rows = runner.forward, []
    runner.forward = lambda batch: rows.append(len(batch.feeds)) or forward(batch)
    fields = {"num_assistant_tokens": 3, "assistant_confidence_threshold": 0.0, "max_new_tokens": 12}
    run(engine, {0: [assisted("llama", prompt(seed, 5, "llama"), fields) for seed in range(6)]})
    assert max(rows) == 6


def assistants_of(engine: Engine) -> Assistants:
    assisted = engine.strategies[GenerationMode.ASSISTED_GENERATION]
    assert isinstance(assisted, Assisted)
    return assisted.assistants


def test_drafted_and_accepted_tokens_are_counted() -> None:
    fields = {"assistant_early_exit": 2, "num_assistant_tokens": 4, "assistant_confidence_threshold": 0.0}
    prompt_ids = prompt(5, 9, "llama")
    plain = alone(engine_of("llama"), submission("llama", prompt_ids, {"max_new_tokens": 15, "eos_token_id": None}))
    answer = alone(assisted_engine("llama"), assisted("llama", prompt_ids, fields | {"max_new_tokens": 15}))
    assert answer.finished is not None
    assert len(plain.sequences[0]) == 15
    # All layers draft what the model says: three times four drafts and one more token.
    assert answer.sequences == plain.sequences
    assert (answer.finished.drafted_tokens, answer.finished.accepted_tokens) == (12, 12)


def test_a_draft_is_cut_behind_an_end_token_and_counts_what_stays() -> None:
    prompt_ids = prompt(5, 9, "llama")
    plain = alone(engine_of("llama"), submission("llama", prompt_ids, {"max_new_tokens": 15})).sequences[0]
    fields = {"assistant_early_exit": 2, "num_assistant_tokens": 9, "assistant_confidence_threshold": 0.0}
    end = plain[2]
    answer = alone(assisted_engine("llama"), assisted("llama", prompt_ids, fields | {"eos_token_id": end}))
    assert answer.sequences == [plain[: plain.index(end) + 1]]
    assert answer.reasons[0].type == "eos_token"
    assert answer.finished is not None
    assert answer.finished.accepted_tokens == len(answer.sequences[0])


@pytest.mark.parametrize("is_sampled", [True, False])
def test_a_sampled_answer_tells_that_a_step_cut_its_drafts(is_sampled: bool) -> None:
    # All layers draft what the model says, so that nearly every draft is accepted and the next one longer.
    growing = {"assistant_early_exit": 2, "num_assistant_tokens": 4, "num_assistant_tokens_schedule": "heuristic"}
    fields = growing | {"assistant_confidence_threshold": 0.0, "do_sample": is_sampled, "eos_token_id": None}
    fields |= {"temperature": 0.01} if is_sampled else {}
    for step_tokens, is_cut in ((12, True), (96, False)):
        engine = make_engine("llama", step_tokens=step_tokens, max_rows=8)
        one = assisted("llama", prompt(5, 9, "llama"), fields | {"max_new_tokens": 90}, seed=1)
        finished = alone(engine, one).finished
        assert finished is not None
        assert [" cut to 11," in text for text in finished.warnings] == ([True] if is_cut and is_sampled else [])


def test_a_schedule_never_leaks_to_other_requests() -> None:
    engine = assisted_engine("llama")
    fields = {"num_assistant_tokens": 3, "assistant_confidence_threshold": 0.0, "max_new_tokens": 20}
    prompt_ids = prompt(3, 20, "llama")
    first = alone(engine, assisted("llama", prompt_ids, fields)).finished
    alone(engine, assisted("llama", prompt_ids, fields | {"num_assistant_tokens_schedule": "heuristic"}))
    again = alone(engine, assisted("llama", prompt_ids, fields)).finished
    assert first is not None
    assert again is not None
    assert first.drafted_tokens == again.drafted_tokens


@pytest.mark.parametrize("drafter", ["prompt lookup", "model", "early exit"])
def test_guided_drafts_change_no_token(drafter: str) -> None:
    guided = {"guidance_scale": 1.8, "max_new_tokens": 20}
    negative = prompt(8, 6, "llama")
    plain = alone(engine_of("llama"), submission("llama", repeating(4), guided, negative_prompt_ids=negative)).sequences
    answer = alone(
        assisted_engine("llama"),
        assisted("llama", repeating(4), guided | DRAFTERS[drafter], negative_prompt_ids=negative),
    )
    assert answer.sequences == plain


def test_a_cancelled_request_gives_its_draft_blocks_back() -> None:
    engine = make_engine("llama")
    one = assisted("llama", prompt(1, 30, "llama"), {"num_assistant_tokens": 3, "max_new_tokens": 40})
    engine.submit(one)
    engine.step()
    assert used_blocks(engine)[1] > 0
    engine.cancel([one.request_id])
    assert used_blocks(engine) == (0, 0, 0)


@pytest.mark.parametrize(
    ("fields", "name", "field"),
    [
        ({"num_assistant_tokens": 96, "max_new_tokens": 200}, "draft", "generation_config.num_assistant_tokens"),
        ({"prompt_lookup_num_tokens": 96, "max_new_tokens": 200}, None, "generation_config.prompt_lookup_num_tokens"),
        (
            {"num_assistant_tokens": 50, "guidance_scale": 2.0, "max_new_tokens": 200},
            "draft",
            "generation_config.num_assistant_tokens",
        ),
    ],
)
def test_what_cannot_be_drafted_is_refused_by_its_field(fields: dict[str, Any], name: str | None, field: str) -> None:
    one = submission("llama", prompt(1, 5, "llama"), fields, assistant_model=name)
    finished = alone(assisted_engine("llama"), one).finished
    assert finished is not None
    assert [problem.field for problem in finished.problems] == [field]


def test_random_choices_are_distributed_as_without_drafts() -> None:
    """Speculative sampling is exact: the first token, drafted, of many seeds."""
    fields = {"do_sample": True, "top_k": 4, "max_new_tokens": 2, "min_new_tokens": 2, "num_assistant_tokens": 3}
    prompt_ids = prompt(6, 11, "llama")
    submissions = [assisted("llama", prompt_ids, fields, seed=seed) for seed in range(600)]
    answers = [run(assisted_engine("llama"), {0: submissions[at : at + 60]}) for at in range(0, 600, 60)]
    firsts = [answer.sequences[0][0] for group in answers for answer in group.values()]
    with torch.inference_mode():
        logits = reference("llama")(torch.tensor([prompt_ids])).logits[0, -1]
        logits[2] = -torch.inf
        best = logits.topk(4)
    for token, share in zip(best.indices.tolist(), best.values.softmax(-1).tolist(), strict=True):
        assert abs(firsts.count(token) / 600 - share) < 0.06


@pytest.mark.parametrize("drafter", ["prompt lookup", "model", "early exit"])
def test_marked_text_equals_generate(drafter: str) -> None:
    fields = DRAFTERS[drafter] | {
        "do_sample": True,
        "max_new_tokens": 20,
        "watermarking_config": {"greenlist_ratio": 0.3, "bias": 3.0, "seeding_scheme": "lefthash"},
    }
    expected, _ = generate_assisted("llama", repeating(3), fields, 3, with_model=asks_for_a_model(fields))
    assert alone(assisted_engine("llama"), assisted("llama", repeating(3), fields, seed=3)).sequences == [expected]


@pytest.mark.parametrize("drafter", ["prompt lookup", "model", "early exit"])
def test_rejected_drafts_leave_no_trace_in_what_a_watermark_remembers(drafter: str) -> None:
    """The library's SynthID counts the contexts of rejected tokens; here greedy tokens are the plain ones."""
    marked = {"max_new_tokens": 24, "watermarking_config": {"ngram_len": 3, "keys": [3, 5, 7, 11]}}
    plain = alone(engine_of("llama"), submission("llama", repeating(3), marked)).sequences
    answer = alone(assisted_engine("llama"), assisted("llama", repeating(3), marked | DRAFTERS[drafter]))
    assert answer.finished is not None
    assert answer.finished.drafted_tokens > answer.finished.accepted_tokens
    assert answer.sequences == plain
