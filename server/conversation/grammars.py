"""Grammars that force calls of tools, hold the arguments of calls that a model makes freely, or hold its answer.

Each is for `prefix_allowed_tokens` of a request, and leaves room for the reasoning that stands before in a turn.
"""

import re
from collections.abc import Sequence

from beamhouse.schemas.beamhouse.generate import PrefixAllowedTokens
from beamhouse.schemas.beamhouse.response_format import ANY_OBJECT
from beamhouse.server.conversation.families import harmony
from beamhouse.server.conversation.families.family import Family
from beamhouse.server.conversation.lark import BLANKS, TEXT, Rules, either
from beamhouse.server.conversation.notations import json_arguments, not_held
from beamhouse.server.conversation.tools import Tool
from beamhouse.server.conversation.turn_format import TurnFormat

_UNESCAPED_SLASH = re.compile(r"\\.|/|\n", re.DOTALL)
_IN_SLASHES = {"/": "\\/", "\n": "\\n"}


def forced_calls(
    turns: TurnFormat, tools: Sequence[Tool], is_parallel: bool = True, is_inside: bool = False
) -> PrefixAllowedTokens:
    """The turn is calls of these tools, at least one, held to their schemas. Raises InvalidRequest naming `tools`.

    is_parallel: any number of them; else exactly one. is_inside: `TurnFormat.begins_inside` of the prompt.
    """
    family, rules = turns.family, Rules(turns.special_ids)
    calls = _calls(rules, family, [_body(rules, family, tool) for tool in tools], is_parallel)
    return PrefixAllowedTokens(grammar=rules.grammar(f"{_thoughts(rules, turns, is_inside)} {calls}"))


def strict_calls(
    turns: TurnFormat, tools: Sequence[Tool], is_parallel: bool = True, is_inside: bool = False
) -> PrefixAllowedTokens | None:
    """The turn is what the model likes, but once it begins a call that is one of these tools, and the arguments of
    those that are strict are held to their schemas, in notations beside JSON those of all. None where no tool is
    strict. Raises InvalidRequest.
    """
    if not any(tool.is_strict for tool in tools):
        return None
    family, rules = turns.family, Rules(turns.special_ids)
    is_json = family.form.arguments is json_arguments
    offered = [Tool(tool.name, ANY_OBJECT) if is_json and not tool.is_strict else tool for tool in tools]
    bodies = [_body(rules, family, tool) for tool in offered]
    thoughts = _thoughts(rules, turns, is_inside)
    if turns.has_channels:
        final = f"{rules.text(harmony.FINAL)} {TEXT}"
        preamble = rules.add(f"{rules.text(harmony.PREAMBLE)} {_next_message(rules)}")
        return PrefixAllowedTokens(
            grammar=rules.grammar(f"{thoughts} {preamble}* ({final} | {_calls(rules, family, bodies, False)})")
        )
    if not family.form.trigger:
        message = (
            f"strict tools beside a free choice need a mark at which calls begin, which the format {family.name} "
            "has not; ask for tool_choice required, or leave strict out"
        )
        raise not_held(message)
    calls = rules.add(_calls(rules, family, bodies, is_parallel, is_begun=True))
    begun = f"{rules.until(family.form.trigger)} {calls}"
    free = f"({begun})* {TEXT}" if is_parallel else f"({begun} {BLANKS} | {TEXT})"
    return PrefixAllowedTokens(grammar=rules.grammar(f"{thoughts} {free}"))


def held_answer(turns: TurnFormat, answer: PrefixAllowedTokens, is_inside: bool = False) -> PrefixAllowedTokens:
    """What a whole text is held to (a schema or an expression), for the answer in a turn: reasoning may precede it."""
    if turns.reasoning is None and not turns.has_channels:
        return answer
    rules = Rules(turns.special_ids)
    thoughts = _thoughts(rules, turns, is_inside)
    final = rules.text(harmony.FINAL) if turns.has_channels else ""
    if answer.json_schema is not None:
        held = rules.value(answer.json_schema)
    elif answer.regex is not None:
        held = f"/{_UNESCAPED_SLASH.sub(lambda match: _IN_SLASHES.get(match[0], match[0]), answer.regex)}/"
    else:
        return answer
    return PrefixAllowedTokens(grammar=rules.grammar(f"{thoughts} {final} {held}"), whitespace=answer.whitespace)


def _body(rules: Rules, family: Family, tool: Tool) -> str:
    """A call of this tool, from its name on."""
    form = family.form
    arguments = form.arguments(rules, tool)
    return rules.add(f"{rules.text(tool.name + form.middle)} {arguments} {rules.text(form.end)}")


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
