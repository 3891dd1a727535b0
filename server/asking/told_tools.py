"""Tools told in words, where the chat template shows none: what may be called and how, and what was called before.

Such a template writes down what its messages say and nothing else, so calls and their results become part of that.
"""

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

from beamhouse.schemas.beamhouse.conversation import Message
from beamhouse.schemas.beamhouse.conversation import Tool as OfferedTool
from beamhouse.server.asking.gathering import Gathering
from beamhouse.server.conversation.families.family import Form
from beamhouse.server.conversation.notations import json_arguments
from beamhouse.server.conversation.turn_format import TurnFormat
from beamhouse.server.service import Model

MESSAGES = "messages"
BETWEEN_TEXTS = "\n\n"

FREE = "You may call the functions below. To call, answer with nothing but the call, or several, in this form:"
FORCED = "Answer by calling the functions below, with nothing but the call, or several, in this form:"
OFFERED = "The functions, each with the JSON schema of its arguments:"
UNKNOWN_CALL = "a call"

Said: TypeAlias = dict[str, Any]
"""A message of ours as plain data."""


def are_told(form: TurnFormat, model: Model) -> bool:
    """Whether tools have to be told in words, and can be: in forms that write JSON."""
    return not model.info.reads_tools and not form.has_channels and form.family.form.arguments is json_arguments


def gather_told(
    asked: Gathering, tools: Sequence[OfferedTool], is_forced: bool, form: TurnFormat, template: str | None
) -> None:
    """Puts the tools that may be called into the first message of the system or the user, and the calls so far into
    words, unless the template reads them."""
    messages = [message.as_given() if isinstance(message, Message) else message for message in asked.get(MESSAGES)]
    if "tool_calls" not in (template or "") and any(is_of_tools(message) for message in messages):
        messages, places = said_in_words(messages, form.family.form)
        for place, source in enumerate(places):
            asked.given_names[f"{MESSAGES}.{place}"] = asked.given_names.get(f"{MESSAGES}.{source}", MESSAGES)
    if tools:
        messages = with_instructions(messages, instructions(tools, is_forced, form.family.form))
    asked.settle(MESSAGES, messages, asked.given_names.get(MESSAGES, MESSAGES))


def is_of_tools(message: Said) -> bool:
    return message["role"] == "tool" or bool(message.get("tool_calls"))


def instructions(tools: Sequence[OfferedTool], is_forced: bool, form: Form) -> str:
    """What the model is told of its tools."""
    example = written_call(form, "NAME", '{"PARAMETER": VALUE}')
    offered = [json.dumps(tool.function.as_given(), ensure_ascii=False) for tool in tools]
    return "\n".join([FORCED if is_forced else FREE, example, OFFERED, *offered])


def with_instructions(messages: list[Said], text: str) -> list[Said]:
    """Behind what the system says first, else before what the user says first."""
    for place, message in enumerate(messages):
        if message["role"] in ("system", "developer", "user"):
            pair = [text, message.get("content")]
            said = joined(pair if message["role"] == "user" else pair[::-1])
            return [*messages[:place], {**message, "content": said}, *messages[place + 1 :]]
    return [{"role": "system", "content": text}, *messages]


def said_in_words(messages: list[Said], form: Form) -> tuple[list[Said], list[int]]:
    """Calls as the model would write them, and results as said by the user; and the place each message came from.

    Results that follow each other, and what the user says behind them, are one message, since templates may want turns
    to alternate.
    """
    said: list[Said] = []
    places: list[int] = []
    names: dict[str, str] = {}
    was_result = False
    for place, message in enumerate(messages):
        calls = message.get("tool_calls") or []
        names |= {call["id"]: call["function"]["name"] for call in calls if call.get("id")}
        is_result = message["role"] == "tool"
        turn = result_turn(message, names) if is_result else called_turn(message, calls, form)
        if was_result and turn["role"] == "user":
            said[-1] = {**said[-1], "content": joined([said[-1]["content"], turn.get("content")])}
        else:
            said.append(turn)
            places.append(place)
        was_result = is_result
    return said, places


def called_turn(message: Said, calls: Sequence[Said], form: Form) -> Said:
    if not calls:
        return message
    functions = [call["function"] for call in calls]
    text = written_calls(form, [(function["name"], as_json(function["arguments"])) for function in functions])
    kept = {key: value for key, value in message.items() if key != "tool_calls"}
    return {**kept, "content": joined([message.get("content"), text])}


def result_turn(message: Said, names: dict[str, str]) -> Said:
    name = message.get("name") or names.get(message.get("tool_call_id") or "", UNKNOWN_CALL)
    return {"role": "user", "content": joined([f"Result of {name}:", message.get("content")], "\n")}


def as_json(arguments: object) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def written_call(form: Form, name: str, arguments: str) -> str:
    return written_calls(form, [(name, arguments)])


def written_calls(form: Form, calls: Sequence[tuple[str, str]]) -> str:
    """As the model would write them. calls: names, and arguments as JSON."""
    one = [
        f"{form.begin}{json.dumps(name, ensure_ascii=False)[1:-1]}{form.middle}{given}{form.end}"
        for name, given in calls
    ]
    return f"{form.opening}{form.separator.join(one)}{form.closing}"


def joined(contents: Sequence[str | list[Said] | None], between: str = BETWEEN_TEXTS) -> str | list[Said]:
    """Texts become one text; beside parts they are parts."""
    given = [content for content in contents if content]
    if all(isinstance(content, str) for content in given):
        return between.join(str(content) for content in given)
    parts = [[{"type": "text", "text": content}] if isinstance(content, str) else content for content in given]
    return [part for several in parts for part in several]
