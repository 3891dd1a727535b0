"""How the text of a run is read where it is an assistant's turn: each protocol with conversations says what this tells."""

from collections.abc import Iterable

from beamhouse.schemas.beamhouse.conversation import Tool as OfferedTool
from beamhouse.server.answering.run import Run
from beamhouse.server.conversation.reader import TurnReader
from beamhouse.server.conversation.tools import Tool, call_ids

TAIL_IDS = 4096
"""So many tokens of a prompt say whether it has begun the thoughts of the turn."""


def readers_of(run: Run, offered: Iterable[OfferedTool]) -> list[TurnReader]:
    """A reader for each sequence of a run. offered: the tools that may be called."""
    form, tools = run.model.turns, callable_tools(offered)
    length = None if form.tools is None else form.tools.id_len
    return [
        form.reader(tools, call_ids(f"{run.accepted.id}:{prompt}:{row}", length), begins_inside(run, prompt))
        for prompt in range(len(run.accepted.submissions))
        for row in range(run.accepted.num_rows)
    ]


def callable_tools(offered: Iterable[OfferedTool]) -> dict[str, Tool]:
    """Tools as those who read calls know them, by name."""
    functions = (tool.function for tool in offered)
    return {one.name: Tool(one.name, one.parameters, bool(one.strict)) for one in functions}


def begins_inside(run: Run, prompt: int) -> bool:
    """Whether a prompt has begun the thoughts of the turn."""
    form, text = run.model.turns, run.model.text
    if text is None or form.reasoning is None:
        return False
    tail = run.accepted.submissions[prompt].prompt_ids[-TAIL_IDS:]
    return form.begins_inside(text.decode(tail, skip_special_tokens=False))
