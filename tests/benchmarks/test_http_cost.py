"""The engine that stands in for the real one, and the reading of costs."""

import os

from beamhouse.engine.link.messages import Cancel, Submission, Wanted
from benchmarks.fakes.engine import FakeEngine
from benchmarks.http_cost import Cost, cpu_s, prompts, read_options, table
from benchmarks.startup import Start
from benchmarks.startup import table as table_of_starts


def submission(name: str, num_new: int, wanted: Wanted | None = None) -> Submission:
    return Submission(name, [1, 2], {"max_length": 2 + num_new}, wanted=wanted or Wanted())


def test_the_fake_engine_gives_each_request_a_token_a_step_and_ends_it_in_time():
    engine = FakeEngine(0.0)
    engine.take(submission("a", 1))
    engine.take(submission("b", 2, Wanted(transition_scores=True, top_n_tokens=3)))
    first, second = engine.step(), engine.step()
    assert [tokens.request_id for tokens in first.tokens] == ["a", "b"]
    assert [finished.request_id for finished in first.finished] == ["a"]
    assert [len(top) for top in first.tokens[1].top_tokens] == [3]
    assert [finished.request_id for finished in second.finished] == ["b"]
    assert not engine.running


def test_the_fake_engine_forgets_what_is_cancelled():
    engine = FakeEngine(0.0)
    engine.take(submission("a", 5))
    engine.take(Cancel(["a", "unknown"]))
    assert engine.step().tokens == []


def test_cpu_time_of_a_process_grows_with_its_work():
    before = cpu_s(os.getpid())
    sum(range(200_000))
    assert cpu_s(os.getpid()) > before


def test_prompts_never_come_twice():
    options = read_options(["--prompt-tokens", "8"])
    drawn = [tuple(prompt) for number in range(3) for prompt in prompts(options, 4, number)]
    assert len(set(drawn)) == 12


def test_tables_show_the_share_that_http_leaves():
    cost = Cost("built-in", "text", 32, 950.0, 50.0, 1.0, alone_tokens_per_s=1000.0)
    assert "95.0%" in table([cost])
    start = Start(3.0, {"listening": 1.0, "ready": 3.0}, 80.0, 400.0)
    assert "3.00 s" in table_of_starts([start])
