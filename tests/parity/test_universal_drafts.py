"""Drafts by a model with another tokenizer: the main model's own tokens, and random choices from its distribution."""

from functools import cache
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.decoding.drafting.retokenized_text import run_ends
from beamhouse.engine.decoding.drafting.shared_vocabulary import SharedVocabulary, Tokenizers
from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.engine.link.messages import Constraint, Submission
from beamhouse.engine.loading.draft_models import Assistant
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.resolution import resolve
from tests.engine.text import tiny_tokenizers
from tests.parity.running import SETTINGS, alone, run


def model_for(tokenizer: Tokenizer, seed: int, num_layers: int = 2) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=64, num_hidden_layers=num_layers,
        num_attention_heads=4, initializer_range=0.3, max_position_embeddings=256, eos_token_id=2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@cache
def tokenizers() -> tuple[Tokenizer, Tokenizer]:
    return tiny_tokenizers.byte_level(), tiny_tokenizers.llama2()


@cache
def engine_of(*, with_draft: bool) -> Engine:
    main, draft = tokenizers()
    given = {"other": Assistant(model_for(draft, 1), draft.to_str())} if with_draft else {}
    extensions = Extensions(Registry({}, {}), {}, main.to_str(), given)
    return assemble(model_for(main, 0), SETTINGS, extensions)[1]


def asked(name: str, text: str, fields: dict[str, Any], *, with_draft: bool, **outside: Any) -> Submission:
    prompt_ids = tokenizers()[0].encode(text).ids
    config = resolve(
        GenerationConfig.from_dict(fields),
        GenerationConfig(),
        prompt_len=len(prompt_ids),
        context_len=256,
        assistant_model="other" if with_draft else None,
    )
    return Submission(name, prompt_ids, config, **outside)


FIELDS: tuple[dict[str, Any], ...] = (
    {"max_new_tokens": 20, "assistant_confidence_threshold": 0.0, "num_assistant_tokens": 6},
    {"max_new_tokens": 20, "target_lookbehind": 2, "assistant_lookbehind": 3},
    {"max_new_tokens": 20, "repetition_penalty": 1.4, "no_repeat_ngram_size": 2, "assistant_confidence_threshold": 0.0},
)


@pytest.mark.parametrize("fields", FIELDS)
def test_greedy_tokens_are_those_without_drafts(fields: dict[str, Any]) -> None:
    submissions = [asked(str(at), text, fields, with_draft=True) for at, text in enumerate(tiny_tokenizers.TEXTS)]
    answers = run(engine_of(with_draft=True), {0: submissions[:3], 2: submissions[3:]})
    for at, text in enumerate(tiny_tokenizers.TEXTS):
        plain = alone(engine_of(with_draft=False), asked(str(at), text, fields, with_draft=False))
        assert answers[str(at)].sequences == plain.sequences
    assert sum(answer.finished.drafted_tokens for answer in answers.values() if answer.finished) > 0


def test_a_constraint_cuts_the_drafts_and_holds() -> None:
    fields = {"max_new_tokens": 12, "assistant_confidence_threshold": 0.0}
    allowed = Constraint(token_ids=[10, 20, 30, 40])
    plain, drafted = (
        alone(engine_of(with_draft=one), asked("a", "abc def", fields, with_draft=one, constraint=allowed))
        for one in (False, True)
    )
    assert drafted.sequences == plain.sequences


def test_a_seed_gives_the_same_tokens_alone_and_in_company() -> None:
    fields = {"do_sample": True, "max_new_tokens": 16, "assistant_confidence_threshold": 0.0}
    one = asked("one", "Once upon a time", fields, with_draft=True, seed=4)
    others = [asked(f"other {at}", "The bears", fields, with_draft=True, seed=at) for at in range(5)]
    engine = engine_of(with_draft=True)
    company = run(engine, {0: others[:3], 1: [one], 3: others[3:]})["one"]
    assert alone(engine, one).sequences == company.sequences


def test_random_choices_are_distributed_as_without_drafts() -> None:
    fields = {"do_sample": True, "top_k": 0, "temperature": 3.0, "max_new_tokens": 2, "bad_words_ids": [[2]]}
    fields |= {"assistant_confidence_threshold": 0.0}
    counts = []
    for with_draft in (True, False):
        numbers = range(1200)
        submissions = [asked(str(seed), "a bear", fields, with_draft=with_draft, seed=seed) for seed in numbers]
        groups = [run(engine_of(with_draft=with_draft), {0: submissions[at : at + 60]}) for at in numbers[::60]]
        answers = [answer for group in groups for answer in group.values()]
        counts.append(torch.bincount(torch.tensor([one.sequences[0][0] for one in answers]), minlength=500) / 1200)
        drafted = sum(one.finished.drafted_tokens for one in answers if one.finished)
        assert (drafted > 0) == with_draft
    # Two samples of the same distribution differ by about the root of (tokens / seeds); others by far more.
    assert float((counts[0] - counts[1]).abs().max()) < 0.03


def test_shared_tokens_stand_for_the_same_text() -> None:
    main, draft = tokenizers()
    pair = Tokenizers.load(main.to_str(), draft.to_str())
    shared = SharedVocabulary(pair, main.get_vocab_size(), draft.get_vocab_size(), torch.device("cpu"))
    logits = torch.randn(1, draft.get_vocab_size())
    wide = shared.translate(logits)[0]
    known = wide.isfinite().nonzero()[:, 0].tolist()
    assert len(known) == len(shared) > 30
    for token in known:
        draft_id = shared.draft_id(token)
        assert wide[token] == logits[0, draft_id]
        assert main.id_to_token(token).replace("Ġ", "▁") == draft.id_to_token(draft_id)


@pytest.mark.parametrize(
    ("known", "fresh", "ends"),
    [([1, 2, 3], [2, 3, 4], (3, 2)), ([1, 2, 9], [0, 1, 2, 3], (2, 3)), ([1], [2], None), ([], [1], None)],
)
def test_the_longest_common_run_joins_two_texts(
    known: list[int], fresh: list[int], ends: tuple[int, int] | None
) -> None:
    assert run_ends(known, fresh) == ends


def test_a_draft_model_without_anything_in_common_is_refused_while_loading() -> None:
    main, draft = tokenizers()
    given = {"other": Assistant(model_for(draft, 1))}
    with pytest.raises(ModelUnsupported, match=r"'other': .* both need a tokenizer"):
        assemble(model_for(main, 0), SETTINGS, Extensions(Registry({}, {}), {}, main.to_str(), given))
