"""What bodies of other protocols become: a request of our own, whose problems are told in the client's names."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.pydantic_problems import explain


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
    """An InvalidRequest of what is done here tells its problems in the client's names."""
    try:
        yield
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
            own_word, given_word = parts[length - 1], given.rpartition(".")[2]
            message = re.sub(rf"\b{re.escape(own_word)}\b", given_word, problem.message)
            return replace(problem, field=".".join([given, *parts[length:]]), message=message)
    return problem
