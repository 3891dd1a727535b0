"""How the text of a run is read where it is an assistant's turn; protocols with conversations say what this tells."""

from dataclasses import replace

from beamhouse.server.answering.run import Run
from beamhouse.server.asking.expected_turn import Expected
from beamhouse.server.conversation.reader import TurnReader
from beamhouse.server.conversation.tools import Tool, call_ids
from beamhouse.server.conversation.turn_format import TurnFormat

TAIL_IDS = 4096
"""So many tokens of a prompt say whether it has begun the thoughts of the turn."""


def readers_of(run: Run, expected: Expected, shows_special: bool) -> list[TurnReader]:
    """A reader for each sequence of a run. shows_special: special tokens that mark nothing are text to the client."""
    form = expected.form(run.model)
    if shows_special:
        form = replace(form, special_ids={})
    tools = {tool.function.name: Tool.of(tool) for tool in expected.callable_tools}
    length = None if form.tools is None else form.tools.id_len
    return [
        form.reader(tools, call_ids(f"{run.accepted.id}:{prompt}:{row}", length), begins_inside(run, prompt, form))
        for prompt in range(len(run.accepted.submissions))
        for row in range(run.accepted.num_rows)
    ]


def begins_inside(run: Run, prompt: int, form: TurnFormat) -> bool:
    """Whether a prompt has begun the thoughts of the turn."""
    text = run.model.text
    if text is None or form.reasoning is None:
        return False
    tail = run.accepted.submissions[prompt].prompt_ids[-TAIL_IDS:]
    return form.begins_inside(text.decode(tail, skip_special_tokens=False))
