"""What the turn of an assistant is held to: calls of tools, or the form of its answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from beamhouse.schemas.beamhouse.conversation import Tool as OfferedTool
from beamhouse.schemas.beamhouse.response_format import ResponseFormat
from beamhouse.server.asking.constraint import hold_to
from beamhouse.server.asking.gathering import Gathering
from beamhouse.server.asking.told_tools import are_told, gather_told
from beamhouse.server.conversation.grammars import held_turn
from beamhouse.server.conversation.tools import Tool, ToolChoice
from beamhouse.server.conversation.turn_format import TurnFormat
from beamhouse.server.service import Model


@dataclass(frozen=True, slots=True)
class Expected:
    """What a request expects of the turn. answer: what it looks like. answer_field: what the client calls that."""

    tools: Sequence[OfferedTool]
    choice: ToolChoice
    answer: ResponseFormat | None = None
    answer_field: str = "response_format"

    @property
    def callable_tools(self) -> Sequence[OfferedTool]:
        return [] if self.choice.kind == "none" else self.tools

    def form(self, model: Model) -> TurnFormat:
        """How the turn is written. Where tools are told in words, calls are read even of a model without a form."""
        asked = model.turns.for_choice(self.choice)
        return asked.with_calls() if self.callable_tools and are_told(asked, model) else asked


def gather_expected(asked: Gathering, expected: Expected, model: Model) -> None:
    """Raises InvalidRequest.

    Tools that may not be called are not shown to the model; a model whose template shows none is told of them in words.
    """
    form, is_forced = expected.form(model), expected.choice.kind == "required"
    is_told = are_told(form, model)
    if not expected.callable_tools or is_told or (is_forced and not model.info.reads_tools):
        asked.drop("tools")
    if is_told:
        gather_told(asked, expected.callable_tools, is_forced, form, model.info.chat_template)
    if form.needs_special_tokens:
        asked.settle("outputs.skip_special_tokens", False, "skip_special_tokens")
    answer = None if expected.answer is None else expected.answer.held()
    tools = [Tool.of(tool) for tool in expected.tools]
    held = held_turn(form, tools, expected.choice, answer, is_inside=begins_inside(asked, form, model))
    told = "tools" if answer is None or is_forced else expected.answer_field
    hold_to(asked, held, "tool_choice" if is_forced else told, told)


def begins_inside(asked: Gathering, form: TurnFormat, model: Model) -> bool:
    """Whether the prompt will begin the thoughts of the turn."""
    variables: dict[str, Any] | None = asked.get("chat_template_kwargs")
    if model.text is None or asked.get("continue_final_message") or asked.get("add_generation_prompt") is False:
        return False
    return form.is_opened(model.text, variables)
