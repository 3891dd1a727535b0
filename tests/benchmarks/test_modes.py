"""How the benchmark of modes asks, counts and tells; the figures themselves are not tested."""

import io
import json
import math
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from beamhouse.engine.loading.files import BUILTIN_DRAFT
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.modes import mode_of
from benchmarks.cases.modes import MODES, Drawing, EndedEarly, Mode, Request, check_lengths
from benchmarks.library.legacy import WorkerFailed, serve, started_worker
from benchmarks.modes import DTYPE, read_options, to_json
from benchmarks.report.comparisons import Comparison, compare, draft_table, mode_table
from benchmarks.report.measures import Answer, tokens_per_s
from benchmarks.serving.plain_requests import body_of

NUM_NEW = 4
END = 7
DRAFTING = {
    "num_assistant_tokens": 5,
    "num_assistant_tokens_schedule": "constant",
    "assistant_confidence_threshold": 0.4,
}
DRAWING = Drawing(
    3,
    1000,
    prompt_tokens=8,
    new_tokens=NUM_NEW,
    end_id=END,
    drafting=DRAFTING,
    write=lambda seed, size: [seed % 99] * size,
)
COMPARISON = Comparison("beam_search", 8, 120.0, 40.0, 90.0, None, 24, 23, 1152, 0, 0)
ONE_MODE = {mode.name: mode for mode in MODES}


class Side:
    """Answers every request with the same tokens after `seconds`, and notes what it was asked."""

    def __init__(self, calls: list[tuple[str, int]], name: str, seconds: float) -> None:
        self.calls, self.name, self.seconds = calls, name, seconds

    def __call__(self, requests: Sequence[Request]) -> list[Answer]:
        return self._answer(self.name, requests)

    def one_by_one(self, requests: Sequence[Request]) -> list[Answer]:
        return self._answer(f"{self.name} one by one", requests)

    def as_batch(self, requests: Sequence[Request]) -> list[Answer]:
        return self._answer(f"{self.name} as batch", requests)

    def _answer(self, name: str, requests: Sequence[Request]) -> list[Answer]:
        self.calls.append((name, len(requests)))
        return [Answer([1] * NUM_NEW, [self.seconds] * NUM_NEW, 6, 3) for _ in requests]


def requests_of(name: str, num_requests: int = 1) -> list[Request]:
    return DRAWING.rounds(ONE_MODE[name], num_requests, 1)[0]


def test_all_modes_are_compared_unless_some_are_chosen():
    assert read_options([]).modes == [mode.name for mode in MODES]
    assert read_options(["--modes", "sample", "beam_search"]).modes == ["sample", "beam_search"]


def test_every_decoding_mode_of_the_contract_is_among_them():
    assert {mode.runs for mode in MODES} == set(GenerateRequest.model_fields["mode"].annotation.__args__[0].__args__)


def test_one_thread_and_full_precision_are_the_defaults():
    assert (read_options([]).threads, read_options([]).device, read_options([]).dtype) == (1, "cpu", "float32")


def test_the_builtin_model_brings_its_draft_and_others_need_one():
    assert read_options([]).draft == BUILTIN_DRAFT
    assert "draft_model" not in read_options(["--model", "other"]).modes
    assert read_options(["--model", "other", "--draft", "small"]).draft == Path("small")


@pytest.mark.parametrize(
    "wrong",
    [["--modes", "unheard"], ["--requests", "0"], ["--draft-tokens", "-1"], ["--model", "a", "--modes", "draft_model"]],
)
def test_wrong_options_are_refused(wrong: list[str], capsys):
    with pytest.raises(SystemExit):
        read_options(wrong)
    assert "error" in capsys.readouterr().err


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_what_the_server_is_asked_is_the_mode_it_is_counted_as(mode: Mode):
    request = requests_of(mode.name)[0]
    body = GenerateRequest.model_validate(body_of(request))
    assert isinstance(body.generation_config, GenerationConfig)
    assert mode_of(body.generation_config, body.assistant_model) == mode.runs == body.mode
    assert body.generation_config.min_new_tokens is None


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_plain_greedy_search_is_left_when_a_mode_is_taken_off(mode: Mode):
    plain = requests_of(mode.name)[0].as_greedy()
    body = GenerateRequest.model_validate(body_of(plain))
    assert isinstance(body.generation_config, GenerationConfig)
    assert mode_of(body.generation_config, body.assistant_model) == "greedy_search"
    assert body.generation_config.model_fields_set == {"do_sample", "max_new_tokens", "eos_token_id"}
    assert plain.prompt == requests_of(mode.name)[0].prompt


def test_no_prompt_comes_twice_and_the_seed_decides_them():
    rounds = DRAWING.rounds(ONE_MODE["guidance"], 4, 3)
    prompts = [tuple(ids) for one in rounds for r in one for ids in (r.prompt, r.negative_prompt or [])]
    assert len(set(prompts)) == len(prompts) == 24
    assert rounds == DRAWING.rounds(ONE_MODE["guidance"], 4, 3)
    assert rounds != replace(DRAWING, seed=4).rounds(ONE_MODE["guidance"], 4, 3)


@pytest.mark.parametrize("token_ids", [[1, 2, 3], [1, END, 0, 0]])
def test_an_answer_that_ended_early_is_not_counted(token_ids: list[int]):
    answers = [Answer(token_ids, [0.1] * len(token_ids))]
    with pytest.raises(EndedEarly, match=r"generate\(\) ended beam_search before its 4 tokens"):
        check_lengths("generate()", requests_of("beam_search"), answers)


def test_the_end_token_may_come_last():
    check_lengths("the server", requests_of("sample"), [Answer([1, 2, 3, END], [0.1] * 4)])


def test_the_rate_is_that_of_all_requests_until_the_last_is_answered():
    assert tokens_per_s([Answer([1, 2], [0.5, 0.5]), Answer([1, 2, 3], [2.0] * 3)]) == pytest.approx(2.5)


def test_sides_take_turns_after_a_warm_up_and_batches_are_of_several():
    calls: list[tuple[str, int]] = []
    rounds = DRAWING.rounds(ONE_MODE["sample"], 3, 3)
    compared = compare(ONE_MODE["sample"], rounds, Side(calls, "ours", 1.0), Side(calls, "theirs", 2.0))
    one_round = [("ours", 3), ("theirs one by one", 3), ("theirs as batch", 3)]
    assert calls == [("ours", 3), ("theirs one by one", 1), *one_round * 2]
    assert (compared.served, compared.one_by_one, compared.as_batch, compared.ratio) == (12, 6, 6, 2)
    assert (compared.num_answers, compared.num_equal, compared.num_tokens) == (6, 6, 24)


def test_drafts_are_compared_with_greedy_search_and_never_as_a_batch():
    calls: list[tuple[str, int]] = []
    rounds = DRAWING.rounds(ONE_MODE["draft_model"], 2, 2)
    compared = compare(ONE_MODE["draft_model"], rounds, Side(calls, "ours", 1.0), Side(calls, "theirs", 2.0))
    assert calls[2:] == [("ours", 2), ("theirs one by one", 2), ("ours", 2)]
    assert (compared.greedy, compared.as_batch) == (8, None)
    assert (compared.num_drafted, compared.num_accepted) == (12, 6)


def test_without_a_library_only_the_server_is_measured():
    calls: list[tuple[str, int]] = []
    rounds = DRAWING.rounds(ONE_MODE["dola_generation"], 2, 2)
    compared = compare(ONE_MODE["dola_generation"], rounds, Side(calls, "ours", 1.0), None)
    assert (compared.served, compared.one_by_one, compared.ratio, compared.num_equal) == (8, None, None, 0)
    assert set(mode_table([compared]).splitlines()[-1].split()) >= {"8.0", "-"}


def test_the_table_shows_rates_their_ratio_and_equal_answers():
    heads, _, row = mode_table([COMPARISON]).splitlines()
    cells = dict(zip(columns(heads), columns(row), strict=True))
    assert cells == {
        "mode": "beam_search",
        "requests": "8",
        "server": "120.0",
        "generate()": "40.0",
        "ratio": "3.00 x",
        "generate(), one batch": "90.0",
        "same tokens": "23/24",
    }


def test_the_acceptance_needed_is_what_a_draft_costs():
    # 100 tokens in 80 % of the time of 100 plain steps: 60 steps were made, so 80 drafts cost 20 steps.
    drafted = replace(COMPARISON, greedy=80.0, served=100.0, num_tokens=100, num_drafted=80, num_accepted=40)
    assert (drafted.acceptance, drafted.draft_cost) == pytest.approx((0.5, 0.25))
    assert columns(draft_table([COMPARISON, drafted]).splitlines()[-1])[2:] == [
        *("80.0", "100.0", "1.25 x", "80", "40", "50%", "25%")
    ]


def test_drafts_that_gain_nothing_have_just_the_acceptance_they_need():
    drafted = replace(COMPARISON, greedy=90.0, served=90.0, num_tokens=100, num_drafted=50, num_accepted=20)
    assert drafted.draft_cost == pytest.approx(drafted.acceptance)


def test_without_drafts_there_is_nothing_to_say_of_them():
    assert draft_table([COMPARISON]) == ""
    assert math.isnan(COMPARISON.acceptance)
    assert math.isnan(COMPARISON.draft_cost)
    assert "acceptance" not in to_json(COMPARISON)


def test_json_holds_what_is_derived_too():
    drafted = replace(COMPARISON, greedy=80.0, served=100.0, num_tokens=100, num_drafted=80, num_accepted=40)
    written = json.loads(json.dumps(to_json(drafted), allow_nan=False))
    assert written == asdict(drafted) | {"ratio": 2.5, "acceptance": 0.5, "acceptance_needed": 0.25}


def test_a_worker_answers_call_after_call():
    calls: list[tuple[str, int]] = []
    requests = [asdict(request) for request in requests_of("group_beam_search", 2)]
    lines = [json.dumps({"method": method, "requests": requests}) for method in ("one_by_one", "as_batch")]
    written = io.StringIO()
    serve(Side(calls, "old", 0.5), io.StringIO("\n".join(lines) + "\n"), written)
    versions, *answers = (json.loads(line) for line in written.getvalue().splitlines())
    assert set(versions) == {"torch", "transformers"}
    assert calls == [("old one by one", 2), ("old as batch", 2)]
    assert [[Answer(**answer) for answer in one] for one in answers] == [
        [Answer([1] * NUM_NEW, [0.5] * NUM_NEW, 6, 3)] * 2
    ] * 2


@pytest.mark.parametrize(
    ("python", "said"), [("missing", "No such file"), (shutil.which("false") or sys.executable, "exit status")]
)
def test_an_interpreter_that_does_not_work_is_told(python: str, said: str, tmp_path: Path):
    with pytest.raises(WorkerFailed, match=said), started_worker(tmp_path / python, tmp_path, "cpu", DTYPE, 1):
        pass


def columns(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
