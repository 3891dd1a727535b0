"""What prompts have in common goes to the engine once, and is built there once."""

from beamhouse.engine.link.engine_process import Life
from beamhouse.engine.link.messages import Constraint, Named, Submission, decode_inbound, encode
from beamhouse.engine.link.sharing import Restorer, Shortener
from beamhouse.engine.logits.processors.bias import BiasTable
from tests.configs import running
from tests.engine.loop.scripted import make_engine

WORDS = [[token, token + 1] for token in range(3, 8)]


def prompts(number: int) -> list[Submission]:
    """As the server makes them: `max_length` differs, everything else is the same object."""
    config = running({"bad_words_ids": WORDS, "do_sample": True})
    shared = {"constraint": Constraint(token_ids=[*range(9)]), "logits_processor": [Named("a", {"b": [1]})]}
    return [
        Submission(str(index), [1] * (index + 1), config.changed({"max_length": index + 9}), **shared)
        for index in range(number)
    ]


def test_what_follows_holds_only_what_is_new():
    shortener, restorer = Shortener(), Restorer()
    first, *others = [encode(shortener.shorten(one)) for one in prompts(3)]
    assert all(len(one) < len(first) for one in others)
    assert [restorer.restore(decode_inbound(data)) for data in (first, *others)] == prompts(3)


def test_equal_objects_that_are_not_the_same_are_sent_anew():
    shortener = Shortener()
    one, other = (Submission(name, [1], running({"bad_words_ids": [[3]]})) for name in "ab")
    assert (shortener.shorten(one), shortener.shorten(other)) == (one, other)


def test_only_the_submission_right_before_is_referred_to():
    shortener, restorer = Shortener(), Restorer()
    a, b = prompts(2)
    between = Submission("between", [1], running({"max_length": 3}))
    sent = [shortener.shorten(one) for one in (a, between, b)]
    assert sent[2].shares == []
    assert [restorer.restore(one) for one in sent] == [a, between, b]


def test_every_life_of_the_engine_hears_everything_first():
    names = {field.name: field for field in Life.__dataclass_fields__.values()}
    assert names["shortener"].default_factory is Shortener


def test_tables_are_built_once_for_all_prompts_of_a_request(monkeypatch):
    engine, restorer, shortener = make_engine(), Restorer(), Shortener()
    built = []
    build = BiasTable.build
    monkeypatch.setattr(BiasTable, "build", lambda biases: built.append(len(biases)) or build(biases))
    config = running({"bad_words_ids": WORDS})
    for index in range(4):
        one = Submission(str(index), [1] * (index + 1), config.changed({"max_length": index + 9}))
        engine.submit(restorer.restore(decode_inbound(encode(shortener.shorten(one)))))
    assert built == [len(WORDS)]
    configs = [request.config for request in engine.roster.by_id.values()]
    assert [config.max_length for config in configs] == [9, 10, 11, 12]
    assert all(config.bad_words_ids is configs[0].bad_words_ids for config in configs)
