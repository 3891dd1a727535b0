"""What bodies of other protocols become, and in whose names their problems are told."""

import pytest

from beamhouse.engine.link.errors import InvalidRequest, invalid
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.asking.translated import in_given_names, in_given_words, translated

NAMES = {"inputs": "prompt", "generation_config.max_new_tokens": "max_tokens", "prefix_allowed_tokens": "format.value"}


def test_fields_become_a_request_that_knows_how_the_client_called_them():
    request = translated({"inputs": ["a", "b"], "generation_config": {"max_new_tokens": 3}}, NAMES)
    assert request.inputs == ["a", "b"]
    assert request.given_names == NAMES


def test_what_our_own_body_refuses_is_told_in_the_names_of_the_client():
    with pytest.raises(InvalidRequest) as caught:
        translated({"generation_config": {"max_new_tokens": 0, "top_p": 2.0}}, NAMES)
    long, unnamed = caught.value.problems
    assert long.field == "max_tokens"
    assert long.message.startswith("max_tokens is 0; allowed:")
    assert unnamed.field == "generation_config.top_p"


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("inputs.3", "prompt.3"),
        ("prefix_allowed_tokens.json_schema", "format.value.json_schema"),
        ("inputs_embeds", "inputs_embeds"),
        ("generation_config", "generation_config"),
        ("", ""),
    ],
)
def test_what_lies_below_a_path_goes_with_it(field: str, given: str):
    with pytest.raises(InvalidRequest) as caught, in_given_names(NAMES):
        raise invalid(field, ProblemCode.EMPTY, "it is empty")
    assert [problem.field for problem in caught.value.problems] == [given]


def test_without_given_names_a_problem_stays_as_it_is():
    with pytest.raises(InvalidRequest) as caught, in_given_names({}):
        raise invalid("inputs", ProblemCode.EMPTY, "inputs has no tokens")
    assert caught.value.problems[0].message == "inputs has no tokens"


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("min_length is 6; allowed: at most max_new_tokens, 5", "min_length is 6; allowed: at most max_tokens, 5"),
        ("outputs.prompt_only generates nothing", "max_tokens generates nothing"),
        ("prefix_allowed_tokens.json_schema is no schema", "format.value.json_schema is no schema"),
        ("top_p has no effect: do_sample is not set", "top_p has no effect: do_sample is not set"),
        ("too many inputs for one request", "too many inputs for one request"),
        ("at most max_new_tokens_of_all", "at most max_new_tokens_of_all"),
    ],
)
def test_a_sentence_calls_other_fields_as_the_client_did(sentence: str, told: str):
    names = NAMES | {"outputs.prompt_only": "max_tokens", "generation_config.do_sample": "temperature"}
    assert in_given_words(sentence, names) == told
