"""Grammars that force calls of tools, hold the arguments of calls that a model makes freely, or hold its answer.

Each is for `prefix_allowed_tokens` of a request, and leaves room for the reasoning that stands before in a turn.
"""

import json
import re
from collections.abc import Sequence

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.beamhouse.generate import MAX_GRAMMAR_CHARS, PrefixAllowedTokens, Whitespace
from beamhouse.schemas.beamhouse.response_format import ANY_OBJECT
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.conversation.families import harmony
from beamhouse.server.conversation.families.family import Family
from beamhouse.server.conversation.lark import BLANKS, TEXT, Rules, either
from beamhouse.server.conversation.notations import json_arguments, plain_name
from beamhouse.server.conversation.tools import Tool, ToolChoice
from beamhouse.server.conversation.turn_format import TurnFormat

NO_BRACE = r"/([ \n\r\t]*([^{ \n\r\t](.|\n)*)?)/"
"""Text that does not begin with a brace."""

_UNESCAPED_SLASH = re.compile(r"\\.|/|\n", re.DOTALL)
_IN_SLASHES = {"/": "\\/", "\n": "\\n"}


def held_turn(
    turns: TurnFormat,
    tools: Sequence[Tool],
    choice: ToolChoice,
    answer: PrefixAllowedTokens | None = None,
    is_inside: bool = False,
) -> PrefixAllowedTokens | None:
    """What a turn is held to by all that was asked of its calls and of its answer; None: nothing.

    answer: a schema or an expression. is_inside: whether the prompt begins the thoughts, by `TurnFormat.is_opened` or
    `begins_inside`. Raises InvalidRequest naming `tools` or `tool_choice`.
    """
    allowed = choice.allowed(tools)
    if choice.kind == "required":
        return forced_calls(turns, allowed, choice.is_parallel, is_inside)
    if not allowed:
        return None if answer is None else held_answer(turns, answer, is_inside)
    if answer is None:
        return free_calls(turns, allowed, choice.is_parallel, is_inside)
    return _calls_or_answer(turns, allowed, choice.is_parallel, answer, is_inside)


def forced_calls(
    turns: TurnFormat, tools: Sequence[Tool], is_parallel: bool = True, is_inside: bool = False
) -> PrefixAllowedTokens:
    """The turn is calls of these tools, at least one, held to their schemas. Raises InvalidRequest naming `tools`.

    is_parallel: any number of them; else exactly one.
    """
    rules = Rules(turns.special_ids)
    calls = _calls(rules, turns.family, _bodies(rules, turns.family, tools), is_parallel)
    return _held(rules, f"{_thoughts(rules, turns, is_inside)} {calls}")


def free_calls(
    turns: TurnFormat, tools: Sequence[Tool], is_parallel: bool = True, is_inside: bool = False
) -> PrefixAllowedTokens | None:
    """The turn is what the model likes, but once it begins a call that is one of these tools, and the arguments of
    those that are strict are held to their schemas; in notations beside JSON those of all. A turn in a form without a
    mark that calls begin with begins one by a brace.

    None where nothing has to be held: no tool is strict, and several calls are well. Raises InvalidRequest.
    """
    family, rules = turns.family, Rules(turns.special_ids)
    if not any(tool.is_strict for tool in tools) and (is_parallel or family.form.is_single):
        return None
    is_json = family.form.arguments is json_arguments
    offered = [Tool(tool.name, ANY_OBJECT) if is_json and not tool.is_strict else tool for tool in tools]
    bodies, thoughts = _bodies(rules, family, offered), _thoughts(rules, turns, is_inside)
    if turns.has_channels:
        return _held(rules, f"{thoughts} {_on_channels(rules, TEXT, _calls(rules, family, bodies, False))}")
    if not family.form.trigger:
        return _held(rules, f"{thoughts} ({_calls(rules, family, bodies, is_parallel)} | {NO_BRACE})")
    calls = rules.add(_calls(rules, family, bodies, is_parallel, is_begun=True))
    begun = f"{rules.until(family.form.trigger)} {calls}"
    return _held(rules, f"{thoughts} ({begun})* {TEXT}" if is_parallel else f"{thoughts} ({begun} {BLANKS} | {TEXT})")


def held_answer(turns: TurnFormat, answer: PrefixAllowedTokens, is_inside: bool = False) -> PrefixAllowedTokens:
    """What a whole text is held to (a schema or an expression), for the answer in a turn: reasoning may precede it."""
    if turns.reasoning is None and not turns.has_channels:
        return answer
    rules = Rules(turns.special_ids)
    final = rules.text(harmony.FINAL) if turns.has_channels else ""
    start = f"{_thoughts(rules, turns, is_inside)} {final} {_answer(rules, answer)}"
    return _held(rules, start, answer.whitespace, "response_format")


def _calls_or_answer(
    turns: TurnFormat, tools: Sequence[Tool], is_parallel: bool, answer: PrefixAllowedTokens, is_inside: bool
) -> PrefixAllowedTokens:
    """The turn is calls, held to their schemas, or the answer."""
    if not (turns.has_channels or turns.family.form.trigger):
        message = (
            f"where the model may call tools or give an answer in a given form, calls need a mark to begin with, which "
            f"the format {turns.family.name} has not; ask for tool_choice none or required"
        )
        raise invalid("tool_choice", ProblemCode.NOT_SUPPORTED, message)
    rules = Rules(turns.special_ids)
    calls, said = _calls(rules, turns.family, _bodies(rules, turns.family, tools), is_parallel), _answer(rules, answer)
    either_way = _on_channels(rules, said, calls) if turns.has_channels else f"({calls} | {said})"
    return _held(rules, f"{_thoughts(rules, turns, is_inside)} {either_way}", answer.whitespace)


def _held(rules: Rules, start: str, whitespace: Whitespace | None = None, field: str = "tools") -> PrefixAllowedTokens:
    """field: whose schemas make the grammar large. Raises InvalidRequest where it is larger than one may be."""
    grammar = rules.grammar(start)
    if len(grammar) > MAX_GRAMMAR_CHARS:
        message = f"{field} makes a grammar of {len(grammar)} characters; allowed: at most {MAX_GRAMMAR_CHARS}"
        raise invalid(field, ProblemCode.OUT_OF_RANGE, message)
    return PrefixAllowedTokens(grammar=grammar, whitespace=whitespace)


def _answer(rules: Rules, answer: PrefixAllowedTokens) -> str:
    if answer.json_schema is not None:
        return rules.value(answer.json_schema)
    assert answer.regex is not None
    return f"/{_UNESCAPED_SLASH.sub(lambda match: _IN_SLASHES.get(match[0], match[0]), answer.regex)}/"


def _on_channels(rules: Rules, said: str, calls: str) -> str:
    """An answer on its channel, or a call; before them may stand what is said of the call."""
    preamble = rules.add(f"{rules.text(harmony.PREAMBLE)} {_next_message(rules)}")
    return f"{preamble}* ({rules.text(harmony.FINAL)} {said} | {calls})"


def _bodies(rules: Rules, family: Family, tools: Sequence[Tool]) -> list[str]:
    return [_body(rules, family, tool) for tool in tools]


def _body(rules: Rules, family: Family, tool: Tool) -> str:
    """A call of this tool, from its name on."""
    form = family.form
    arguments = form.arguments(rules, tool)
    is_json = form.begin.endswith('"')
    name = json.dumps(tool.name, ensure_ascii=False)[1:-1] if is_json else plain_name(tool, tool.name)
    return rules.add(f"{rules.text(name + form.middle)} {arguments} {rules.text(form.end)}")


def _calls(rules: Rules, family: Family, bodies: list[str], is_parallel: bool, is_begun: bool = False) -> str:
    """All calls of a turn. is_begun: without the mark that begins them, which was written already."""
    form = family.form
    first = form.opening + form.begin
    begin = rules.text(first.removeprefix(form.trigger) if is_begun else first)
    body, more = rules.add(either(bodies)), ""
    if is_parallel and not form.is_single:
        more = f"({rules.text(form.separator + form.begin)} {body})*"
    return f"{begin} {body} {more} {rules.text(form.closing)}"


def _thoughts(rules: Rules, turns: TurnFormat, is_inside: bool) -> str:
    """The reasoning that may stand before the rest of a turn; the rest of it where the prompt has begun it."""
    if turns.has_channels:
        message = rules.add(f"{rules.text(harmony.THOUGHTS)} {_next_message(rules)}")
        return f"{_next_message(rules)} {message}*" if is_inside else f"{message}*"
    if turns.reasoning is None:
        return ""
    rest = f"{rules.until(turns.reasoning.end)} {BLANKS}"
    return rest if is_inside else f"({rules.text(turns.reasoning.begin)} {rest})?"


def _next_message(rules: Rules) -> str:
    """The rest of a message on a channel, and what begins the next one."""
    return f"{rules.until(harmony.ENDS[0])} {rules.text(harmony.START + harmony.ASSISTANT)}"
