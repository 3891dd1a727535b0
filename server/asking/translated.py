"""What bodies of other protocols become: a request of our own, whose problems are told in the client's names."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from beamhouse.engine.link.errors import InvalidRequest, RequestFailed
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.pydantic_problems import explain

KEPT = ("do_sample",)
"""Words of ours that stay in sentences about other fields: what decides on drawing means more than that."""

NOTHING: Mapping[str, str] = {}


def translated(fields: dict[str, Any], given_names: Mapping[str, str]) -> GenerateRequest:
    """The request that `fields`, the JSON of one, stand for.

    given_names: for dotted paths of ours, those of the client's body they were made from; what lies below a path goes
    with it. Raises InvalidRequest in the client's names.
    """
    try:
        return GenerateRequest.model_validate(fields).given_as(given_names)
    except ValidationError as error:
        found = explain(error.errors(include_url=False), fields, GenerateRequest)
    with in_given_names(given_names):
        raise InvalidRequest(
            [Problem(".".join(map(str, path)), code, message) for path, (code, message) in found.items()]
        )


@contextmanager
def in_given_names(given_names: Mapping[str, str]) -> Iterator[None]:
    """An InvalidRequest of what is done here tells its problems in the client's names, as does a RequestFailed."""
    try:
        yield
    except RequestFailed as error:
        raise RequestFailed(in_given_words(str(error), given_names)) from None
    except InvalidRequest as error:
        if not given_names:
            raise
        raise InvalidRequest([by_given_name(problem, given_names) for problem in error.problems]) from None


def by_given_name(problem: Problem, given_names: Mapping[str, str]) -> Problem:
    """The field by the longest of the paths that it lies on, and its last name in the message as well."""
    parts = problem.field.split(".")
    for length in range(len(parts), 0, -1):
        given = given_names.get(".".join(parts[:length]))
        if given is not None:
            own = {parts[length - 1]: given.rpartition(".")[2]}
            message = in_given_words(problem.message, given_names, own)
            return replace(problem, field=".".join([given, *parts[length:]]), message=message)
    return replace(problem, message=in_given_words(problem.message, given_names))


def in_given_words(sentence: str, given_names: Mapping[str, str], own: Mapping[str, str] = NOTHING) -> str:
    """A sentence with the client's names for fields that it calls by ours.

    own: words of ours that surely mean fields. Others do as whole paths, or if they are spelt as no word is.
    """
    words = {path.rpartition(".")[2]: given.rpartition(".")[2] for path, given in given_names.items()}
    known = {word: given for word, given in words.items() if "_" in word and word not in {*words.values(), *KEPT}}
    known |= {path: given for path, given in given_names.items() if "." in path or path in known}
    known |= own
    if not known:
        return sentence
    longest_first = "|".join(map(re.escape, sorted(known, key=len, reverse=True)))
    return re.sub(rf"(?<![\w.])({longest_first})(?!\w)", lambda found: known[found[1]], sentence)
