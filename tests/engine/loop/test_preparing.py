"""What takes long to build is built in a thread, and then taken in."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from beamhouse.engine.link.messages import Constraint, Submission
from beamhouse.engine.logits.processors.bias import BiasTable
from beamhouse.engine.loop.engine import Engine
from beamhouse.engine.loop.preparing import Preparing, is_large
from beamhouse.engine.state.request import Request
from tests.configs import running
from tests.engine.loop.scripted import drain, make_engine

WORDS = [[3 + place % 20, place] for place in range(30)] * 10


def asked(name: str, words: list[list[int]]) -> Submission:
    return Submission(name, [1, 2], running({"max_length": 6, "bad_words_ids": words}))


def prepared(engine: Engine, submissions: list[Submission], forgotten: list[str]) -> list[str]:
    """Let a thread prepare them and take in what comes; the names of those, in order."""
    rings: list[None] = []
    with ThreadPoolExecutor(1) as executor:
        preparing = Preparing(executor, lambda: rings.append(None))
        for submission in submissions:
            preparing.add(engine, submission)
        preparing.forget(forgotten)
    names = []
    for submission, outcome in preparing.done():
        engine.take(submission, outcome)
        names.append(submission.request_id)
    assert len(rings) >= len(names)
    return names


@pytest.mark.parametrize(
    ("config", "constraint"),
    [
        ({"bad_words_ids": WORDS}, None),
        ({"sequence_bias": [[word, 1.0] for word in WORDS]}, None),
        ({"suppress_tokens": list(range(300))}, None),
        ({"force_words_ids": [WORDS]}, None),
        ({"constraints": [{"type": "disjunctive", "nested_token_ids": WORDS}]}, None),
        ({}, Constraint(sequences=WORDS)),
    ],
)
def test_many_phrases_are_for_a_thread(config, constraint):
    assert is_large(Submission("a", [1], running(config), constraint=constraint))


def test_few_phrases_and_long_prompts_are_not():
    assert not is_large(Submission("a", [1] * 1000, running({"bad_words_ids": WORDS[:10], "eos_token_id": 2})))


def test_a_prepared_request_runs_as_one_that_was_submitted():
    engine = make_engine()
    assert prepared(engine, [asked("a", [[4]]), asked("b", [[5, 6]])], []) == ["a", "b"]
    told = drain(engine)
    other = make_engine()
    for submission in (asked("a", [[4]]), asked("b", [[5, 6]])):
        other.submit(submission)
    assert told == drain(other)


def test_what_is_wrong_is_told_as_if_it_were_submitted():
    engine = make_engine()
    far = Submission("a", [1], running({"max_length": 10**6, "bad_words_ids": WORDS}))
    prepared(engine, [far], [])
    _, errors = drain(engine)
    assert errors["a"] == "invalid_request"


def test_a_cancelled_one_never_begins():
    engine = make_engine()
    assert prepared(engine, [asked("a", [[4]]), asked("b", [[4]])], ["a"]) == ["b"]


def test_the_prompts_of_a_request_share_what_the_first_had_built(monkeypatch):
    built: list[object] = []
    build = BiasTable.build
    monkeypatch.setattr(BiasTable, "build", lambda biases: built.append(None) or build(biases))
    words = [[4, 5], [6]]
    prepared(make_engine(), [asked(name, words) for name in "abc"], [])
    assert len(built) == 1


def test_a_full_queue_refuses_what_was_prepared():
    engine = make_engine(max_rows=1, max_waiting=1)
    requests = {name: engine.prepare(asked(name, [[4]])) for name in ("one", "two", "three")}
    assert all(isinstance(request, Request) for request in requests.values())
    for name, request in requests.items():
        engine.take(asked(name, [[4]]), request)
    assert drain(engine)[1]["three"] == "queue_full"


def test_sequences_of_tokens_are_compiled_once():
    constraints = make_engine().pipeline.constraints
    first, second = (constraints.compile(Constraint(sequences=[[1, 2], [3]])) for _ in range(2))
    assert first.trie is second.trie
