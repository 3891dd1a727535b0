"""Logits, scores, hidden states, attention maps and prompt log-probabilities: the library's values and shapes."""

from collections.abc import Iterator

import pytest
import torch
from transformers import GenerationConfig as LibraryConfig

from beamhouse.engine.link.messages import Submission, Wanted
from beamhouse.engine.runners.runner import Inspection, Seen
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.resolution import resolve_unread
from beamhouse.schemas.words import FinishType
from beamhouse.server.answering.tensors import read_likely
from tests.parity.drafting import make_engine
from tests.parity.models import VOCAB_SIZE, reference
from tests.parity.rounding import assert_close
from tests.parity.running import alone, engine_of, prompt, run, submission

PROMPT = [5, 9, 33, 12, 7, 50, 21]
FIELDS = {"max_new_tokens": 6, "repetition_penalty": 1.2, "output_scores": True, "output_logits": True}
SAMPLED = FIELDS | {"do_sample": True, "num_return_sequences": 2, "eos_token_id": [2, 40]}


def library(family: str, **fields: object) -> object:
    model = reference(family)
    before = model.config._attn_implementation
    model.set_attn_implementation("eager" if fields.get("output_attentions") else before)
    torch.manual_seed(3)
    with torch.inference_mode():
        out = model.generate(
            torch.tensor([PROMPT]), generation_config=LibraryConfig(**fields, return_dict_in_generate=True)
        )
    model.set_attn_implementation(before)
    return out


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert actual.shape == expected.shape
    lives = ~actual.isnan()
    assert lives.any()
    assert_close(actual[lives], expected[lives])


@pytest.mark.parametrize("fields", [FIELDS, SAMPLED])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
def test_scores_and_logits(family: str, fields: dict[str, object]) -> None:
    expected = library(family, **fields)
    answer = alone(engine_of(family), submission(family, PROMPT, fields, seed=3))
    close(answer.tensor("scores"), torch.stack(expected.scores))
    close(answer.tensor("logits"), torch.stack(expected.logits))


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3", "opt"])
def test_hidden_states_and_attentions_of_every_step(family: str) -> None:
    fields = SAMPLED | {"output_hidden_states": True, "output_attentions": True}
    expected = library(family, **fields)
    answer = alone(engine_of(family), submission(family, PROMPT, fields, seed=3))
    num_layers = reference(family).config.num_hidden_layers
    num_steps = len(expected.hidden_states)
    assert num_steps > 1
    for step in range(num_steps):
        assert len(expected.hidden_states[step]) == num_layers + 1
        for layer in range(num_layers + 1):
            close(answer.tensor(f"hidden_states.{step}.{layer}"), expected.hidden_states[step][layer])
        for layer in range(num_layers):
            close(answer.tensor(f"attentions.{step}.{layer}"), expected.attentions[step][layer])
    assert f"hidden_states.{num_steps}.{num_layers}" not in answer.finished.tensors


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
def test_a_long_prompt_is_looked_into_piece_by_piece_with_the_librarys_values(family: str) -> None:
    fields = FIELDS | {"output_hidden_states": True, "output_attentions": True}
    prompt = (PROMPT * 15)[:99]
    with torch.inference_mode():
        model = reference(family)
        before = model.config._attn_implementation
        model.set_attn_implementation("eager")
        expected = model(torch.tensor([prompt]), output_hidden_states=True, output_attentions=True)
        model.set_attn_implementation(before)
    answer = alone(engine_of(family), submission(family, prompt, fields, wanted=Wanted(positions=[0, 3])))
    for layer, states in enumerate(expected.hidden_states):
        close(answer.tensor(f"hidden_states.0.{layer}"), states)
    for layer, maps in enumerate(expected.attentions):
        close(answer.tensor(f"attentions.0.{layer}"), maps)
        later = answer.tensor(f"attentions.3.{layer}")
        assert later.shape[-2:] == (1, 102)
        torch.testing.assert_close(later.sum(-1), torch.ones(later.shape[:-1]))


def test_an_inspection_computes_what_is_asked_for_while_others_go_on() -> None:
    engine, prompt = engine_of("llama"), (PROMPT * 15)[:99]
    kept: list[int] = []
    look = engine.runner.inspect
    one = submission("llama", prompt, FIELDS | {"output_attentions": True}, wanted=Wanted(positions=[1], layers=[0]))
    other = submission("llama", PROMPT, {"max_new_tokens": 60, "eos_token_id": None})

    def watched(token_ids: list[int], wish: Inspection) -> Iterator[Seen]:
        for seen in look(token_ids, wish):
            kept.append(sum(tensor.numel() for tensor in seen.attentions.values()))
            yield seen

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.runner, "inspect", watched)
        engine.submit(one)
        engine.submit(other)
        gained: list[int] = []
        while engine.has_work:
            outputs = engine.step()
            gained.append(
                sum(
                    len(tokens.token_ids)
                    for request in outputs.requests
                    if request.request_id == other.request_id
                    for tokens in request.tokens
                )
            )
            if any(finished.request_id == one.request_id for finished in outputs.finished):
                during = gained[-len(kept) :]
    assert kept == [0, 0, 0, 4 * 100], "one layer's map of one query, and of the other pieces nothing"
    assert during == [1] * len(kept), "a token in each step that had a piece"


def test_an_inspection_can_be_cancelled() -> None:
    engine = engine_of("llama")
    one = submission("llama", (PROMPT * 15)[:99], FIELDS | {"output_attentions": True})
    engine.submit(one)
    while engine.inspections.first is None:
        engine.step()
    assert engine.has_work
    engine.cancel([one.request_id])
    assert not engine.has_work


def test_positions_and_layers_select() -> None:
    fields = FIELDS | {"output_hidden_states": True}
    wanted = Wanted(positions=[1, 4], layers=[-1])
    answer = alone(engine_of("llama"), submission("llama", PROMPT, fields, wanted=wanted))
    whole = alone(engine_of("llama"), submission("llama", PROMPT, fields))
    assert sorted(answer.finished.tensors) == ["hidden_states.1.2", "hidden_states.4.2", "logits", "scores"]
    torch.testing.assert_close(answer.tensor("scores"), whole.tensor("scores")[[1, 4]])
    torch.testing.assert_close(answer.tensor("hidden_states.4.2"), whole.tensor("hidden_states.4.2"))


@pytest.mark.parametrize("positions", [[], [90]])
def test_positions_that_were_not_reached_leave_an_empty_tensor(positions: list[int]) -> None:
    fields = FIELDS | {"output_hidden_states": True}
    answer = alone(engine_of("llama"), submission("llama", PROMPT, fields, wanted=Wanted(positions=positions)))
    assert {name: tensor.shape for name, tensor in answer.finished.tensors.items()} == {
        "scores": [0, 1, VOCAB_SIZE],
        "logits": [0, 1, VOCAB_SIZE],
    }


def test_transition_scores_are_those_of_the_library() -> None:
    model = reference("builtin")  # its vocabulary is large enough for the order of a sum to show
    expected = library("builtin", **FIELDS)
    one = submission("builtin", PROMPT, FIELDS, wanted=Wanted(transition_scores=True))
    answer = alone(engine_of("builtin"), one)
    scores = model.compute_transition_scores(expected.sequences, expected.scores, normalize_logits=True)
    for row, given in answer.scores.items():
        assert_close(torch.tensor(given), scores[row, : len(given)], model.config)


@pytest.mark.parametrize("length", [1, 2, 40, 200])
def test_prompt_logprobs_are_those_of_one_forward_pass(length: int) -> None:
    prompt_ids = torch.randint(3, 150, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    with torch.inference_mode():
        logits = reference("llama")(torch.tensor([prompt_ids])).logits[0]
    expected = logits.log_softmax(-1)[:-1].gather(1, torch.tensor(prompt_ids[1:])[:, None])[:, 0]
    for _ in range(2):  # the second time its blocks are in the cache
        one = submission("llama", prompt_ids, {"max_new_tokens": 1}, wanted=Wanted(prompt_logprobs=True))
        given = alone(engine_of("llama"), one).finished.prompt_logprobs
        assert given[0] is None
        assert_close(torch.tensor(given[1:]), expected)


@pytest.mark.parametrize(("family", "length"), [("llama", 1), ("llama", 2), ("llama", 200), ("builtin", 130)])
def test_prompt_top_tokens_are_the_likeliest_of_one_forward_pass(family: str, length: int) -> None:
    prompt_ids = torch.randint(3, 150, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    with torch.inference_mode():
        logprobs = reference(family)(torch.tensor([prompt_ids])).logits[0].float().log_softmax(-1)[:-1]
    for _ in range(2):  # the second time its blocks are in the cache
        one = submission(family, prompt_ids, {"max_new_tokens": 1}, wanted=Wanted(prompt_top_n_tokens=5))
        finished = alone(engine_of(family), one).finished
        first, *given = read_likely(finished.prompt_top_tokens)
        assert (first, finished.prompt_logprobs) == (None, [])
        assert len(given) == length - 1
        for tops, expected in zip(given, logprobs, strict=True):
            assert [top.token_id for top in tops] == expected.topk(5).indices.tolist()
            assert_close(torch.tensor([top.logprob for top in tops]), expected.topk(5).values)


def test_prompt_top_tokens_are_the_same_where_a_prompt_is_computed_again() -> None:
    tight = make_engine("llama", cache_tokens=16 * 12, step_tokens=32, max_stretch=1_000_000)
    fields = {"max_new_tokens": 40, "eos_token_id": []}
    prompts = [prompt(seed, 60, "llama") for seed in range(4)]
    wishes = [
        submission("llama", ids, fields, wanted=Wanted(prompt_top_n_tokens=3, prompt_logprobs=True)) for ids in prompts
    ]
    answers = run(tight, {0: wishes})
    assert tight.scheduler.num_preemptions
    for one in wishes:
        given, whole = answers[one.request_id].finished, alone(engine_of("llama"), one).finished
        assert given.prompt_top_tokens.token_ids == whole.prompt_top_tokens.token_ids
        assert given.prompt_logprobs[1:] == pytest.approx(whole.prompt_logprobs[1:], abs=1e-5)


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("length", [1, 200])
def test_a_prompt_alone_is_read_and_nothing_behind_it(length: int, is_streamed: bool) -> None:
    engine, prompt_ids = engine_of("llama"), prompt(5, length, "llama")
    config = resolve_unread(GenerationConfig(num_return_sequences=3), length)
    wishes = [Wanted(prompt_logprobs=True, prompt_only=True), Wanted(prompt_only=True)]
    read, silent = (
        Submission(f"alone {number}", prompt_ids, config, wanted=wanted, is_streamed=is_streamed)
        for number, wanted in enumerate(wishes)
    )
    other = submission("llama", prompt_ids, {"max_new_tokens": 3}, wanted=Wanted(prompt_logprobs=True))
    answers = run(engine, {0: [read, silent, other]})
    for one in (read, silent):
        assert answers[one.request_id].sequences == [[], [], []]
        assert {reason.type for reason in answers[one.request_id].reasons.values()} == {FinishType.LENGTH}
    assert answers[silent.request_id].finished.prompt_logprobs == []
    given, whole = (answers[one.request_id].finished.prompt_logprobs for one in (read, other))
    assert given[1:] == pytest.approx(whole[1:], abs=1e-5)
    assert engine.cache.num_used == 0


def test_a_prompt_alone_may_be_as_long_as_the_cache_however_often_it_is_told() -> None:
    tight = make_engine("llama", cache_tokens=16 * 12)
    config = resolve_unread(GenerationConfig(num_return_sequences=4), 16 * 12)
    one = Submission("alone", prompt(5, 16 * 12, "llama"), config, wanted=Wanted(prompt_only=True))
    assert alone(tight, one).sequences == [[]] * 4


def test_top_tokens_are_the_likeliest_of_each_step() -> None:
    fields = {"max_new_tokens": 4, "output_scores": True}
    answer = alone(engine_of("llama"), submission("llama", PROMPT, fields, wanted=Wanted(top_n_tokens=3)))
    best = answer.tensor("scores")[:, 0].log_softmax(-1).topk(3)
    assert [[top.token_id for top in step] for step in answer.top_tokens[0]] == best.indices.tolist()
    assert [[top.logprob for top in step] for step in answer.top_tokens[0]] == best.values.tolist()
