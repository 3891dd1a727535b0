"""Some rounds of `python -m tests.fuzz.company`, always the same, and that the fuzzer sees what it looks for."""

from dataclasses import replace

import pytest

from beamhouse.engine.link.messages import FinishReason
from beamhouse.schemas.words import FinishType
from tests.fuzz.company import differences, leaks, play, roomy
from tests.fuzz.crowds import make_engine
from tests.parity.running import alone, submission

ROUNDS = [
    ("qwen3", "auto", 1),
    ("qwen3", "auto", 2),
    ("qwen3", "torch", 3),
    ("llama", "auto", 4),
    ("gemma3", "auto", 5),
    ("gemma3", "torch", 6),
    ("phi3, longrope", "auto", 7),
    ("gpt2", "auto", 9),
    ("mistral", "torch", 11),
    ("qwen3", "auto", 12),
    ("builtin", "torch", 14),
    ("builtin", "auto", 8),
]


@pytest.mark.parametrize(("family", "kernels", "seed"), ROUNDS)
def test_company_changes_no_answer(family: str, kernels: str, seed: int) -> None:
    report = play(family, kernels, seed)
    assert not report.faults, "\n".join(report.faults)
    assert report.num_checked > 4
    assert report.num_undecided <= report.num_checked // 10


def test_other_tokens_reasons_and_scores_are_seen() -> None:
    one = submission("qwen3", [5, 6, 7], {"max_new_tokens": 3})
    answer = alone(roomy("qwen3", "auto"), one)
    for changed in (
        replace(answer, token_ids={0: [1, 2, 3]}),
        replace(answer, reasons={0: FinishReason(FinishType.EOS_TOKEN, token_id=2)}),
        replace(answer, scores={0: [0.5]}),
    ):
        assert any(differences(changed, answer))
    assert not any(differences(answer, answer))


def test_blocks_that_are_kept_are_seen() -> None:
    engine = make_engine("qwen3", "auto")
    engine.submit(submission("qwen3", [5, 6, 7], {"max_new_tokens": 30, "eos_token_id": None}))
    engine.step()
    assert list(leaks(engine)) == ["1 blocks are still held", "requests are still known"]
