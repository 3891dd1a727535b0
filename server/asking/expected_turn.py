"""What the turn of an assistant is held to: calls of tools, or the form of its answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import anyio

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.beamhouse.conversation import Tool as OfferedTool
from beamhouse.schemas.beamhouse.generate import GenerateRequest, PrefixAllowedTokens
from beamhouse.schemas.beamhouse.response_format import ANY_OBJECT, ResponseFormat
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.asking.constraint import constrain
from beamhouse.server.asking.gathering import Gathering
from beamhouse.server.asking.prompts import render
from beamhouse.server.asking.translated import in_given_names
from beamhouse.server.conversation.grammars import forced_calls, held_answer, strict_calls
from beamhouse.server.conversation.tools import Tool
from beamhouse.server.conversation.turn_format import TurnFormat
from beamhouse.server.service import Model, Service


@dataclass(frozen=True, slots=True)
class Expected:
    """What a request expects of the turn.

    tools: those that may be called. is_forced: whether one of them must be, those of `named` if it is not None.
    is_parallel: whether there may be several calls. answer: what the answer looks like. The client's fields are called
    `tools`, `choice_field` and `answer_field`.
    """

    tools: Sequence[OfferedTool] = ()
    is_forced: bool = False
    named: str | None = None
    is_parallel: bool = True
    answer: ResponseFormat | None = None
    choice_field: str = "tool_choice"
    answer_field: str = "response_format"

    def form(self, model: Model) -> TurnFormat:
        """How the turn is written. Calls have the form of plain objects where the model knows none of its own."""
        return model.turns.with_calls() if self.tools else model.turns


def gather_expected(asked: Gathering, expected: Expected, model: Model, *, is_inside: bool = False) -> None:
    """is_inside: whether the prompt has begun the thoughts of the turn. Raises InvalidRequest.

    Tools that are not to be called are not shown to the model; those that must be are held to even where its template
    shows none.
    """
    form = expected.form(model)
    if not expected.tools or (expected.is_forced and not model.info.reads_tools):
        asked.drop("tools")
    if form.needs_special_tokens:
        asked.settle("outputs.skip_special_tokens", False, "skip_special_tokens")
    calls = held_calls(expected, form, is_inside=is_inside)
    answer = None if expected.answer is None else expected.answer.held()
    if answer is not None and expected.tools and not expected.is_forced:
        message = f"{expected.answer_field} says what the answer is, and leaves no room for calls; leave tools out"
        raise invalid(expected.answer_field, ProblemCode.CONFLICT, message)
    place = expected.choice_field if expected.is_forced else "tools"
    constrain(asked, fields_of(calls), place)
    if answer is not None:
        constrain(asked, fields_of(held_answer(form, answer, is_inside)), expected.answer_field)


def held_calls(expected: Expected, form: TurnFormat, *, is_inside: bool) -> PrefixAllowedTokens | None:
    """The grammar of calls, where they are forced, strict or at most one."""
    tools = [Tool.of(tool) for tool in expected.tools]
    if expected.is_forced:
        return forced_calls(form, forced_tools(expected, tools), expected.is_parallel, is_inside)
    if tools and not expected.is_parallel and not any(tool.is_strict for tool in tools):
        tools = [replace(tool, parameters=ANY_OBJECT, is_strict=True) for tool in tools]
    return strict_calls(form, tools, expected.is_parallel, is_inside)


def forced_tools(expected: Expected, tools: Sequence[Tool]) -> Sequence[Tool]:
    if not tools:
        message = f"{expected.choice_field} asks for a call, and there are no tools"
        raise invalid(expected.choice_field, ProblemCode.CONFLICT, message)
    chosen = tools if expected.named is None else [tool for tool in tools if tool.name == expected.named]
    if not chosen:
        listed = ", ".join(tool.name for tool in tools[:10])
        message = f"{expected.choice_field} names no tool that is offered; offered: {listed}"
        raise invalid(expected.choice_field, ProblemCode.UNKNOWN_NAME, message)
    return chosen


def fields_of(allowed: PrefixAllowedTokens | None) -> dict[str, object] | None:
    return None if allowed is None else allowed.model_dump(exclude_none=True)


async def begins_inside(service: Service, model: Model, body: GenerateRequest, form: TurnFormat) -> bool:
    """Whether the prompt of a conversation begins the thoughts of the turn, which only its template knows.

    Asked only where something of the turn is held. Raises InvalidRequest.
    """
    if body.prefix_allowed_tokens is None or form.reasoning is None or body.messages is None:
        return False
    with in_given_names(body.given_names):
        text = model.need_text("messages")
        prompt = await anyio.to_thread.run_sync(render, text, body, True, limiter=service.limiter)
    return form.begins_inside(prompt)
