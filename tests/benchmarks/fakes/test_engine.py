"""The engine that stands in for the real one."""

from beamhouse.engine.link.messages import Cancel, Submission, Wanted
from benchmarks.fakes.engine import FakeEngine
from tests.configs import running


def submission(name: str, num_new: int, wanted: Wanted | None = None) -> Submission:
    return Submission(name, [1, 2], running({"max_length": 2 + num_new}), wanted=wanted or Wanted())


def test_the_fake_engine_gives_each_request_a_token_a_step_and_ends_it_in_time():
    engine = FakeEngine(0.0)
    engine.take(submission("a", 1))
    engine.take(submission("b", 2, Wanted(transition_scores=True, top_n_tokens=3)))
    first, second = engine.step(), engine.step()
    assert [one.request_id for one in first.requests] == ["a", "b"]
    assert [finished.request_id for finished in first.finished] == ["a"]
    assert [len(top) for top in first.requests[1].tokens[0].top_tokens] == [3]
    assert [finished.request_id for finished in second.finished] == ["b"]
    assert not engine.running


def test_the_fake_engine_forgets_what_is_cancelled():
    engine = FakeEngine(0.0)
    engine.take(submission("a", 5))
    engine.take(Cancel(["a", "unknown"]))
    assert engine.step().requests == []
