"""How the served model writes its turns: which form its calls and its reasoning have, from its template or as set."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.engine.text.tokenizer import Text
from beamhouse.server.conversation.deltas import ReasoningDelta, TextDelta
from beamhouse.server.conversation.families.family import Family, read_text
from beamhouse.server.conversation.families.gemma import FUNCTION_GEMMA, GEMMA4
from beamhouse.server.conversation.families.harmony import HARMONY, read_turn
from beamhouse.server.conversation.families.hermes import HERMES
from beamhouse.server.conversation.families.json_calls import LLAMA3, PLAIN
from beamhouse.server.conversation.families.mistral import MISTRAL, MISTRAL_NAMED
from beamhouse.server.conversation.families.qwen_coder import QWEN_CODER
from beamhouse.server.conversation.families.tool_code import TOOL_CODE
from beamhouse.server.conversation.reader import TurnReader
from beamhouse.server.conversation.reasoning import THINKING, Thinking
from beamhouse.server.conversation.source import Reading, Source
from beamhouse.server.conversation.tools import CallId, Calls, Tool, ToolChoice

FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        HARMONY,
        GEMMA4,
        FUNCTION_GEMMA,
        MISTRAL_NAMED,
        MISTRAL,
        QWEN_CODER,
        HERMES,
        LLAMA3,
        TOOL_CODE,
        PLAIN,
    )
}
"""By name, in the order in which a template is compared with them."""

AUTO, NONE = "auto", "none"


def detect_tool_format(template: str | None) -> str | None:
    """The name of the family whose marks stand in a chat template; None where there are none that are known."""
    text = template or ""
    return next((name for name, family in FAMILIES.items() if any(mark in text for mark in family.in_template)), None)


def detect_reasoning_format(template: str | None) -> str | None:
    """The name of the marks of reasoning in a chat template; None where there are none that are known."""
    return next((name for name, thinking in THINKING.items() if thinking.begin in (template or "")), None)


@dataclass(frozen=True, slots=True)
class TurnFormat:
    """The form of a model's turns. tools, reasoning: None where there is none.

    special_ids: the special tokens of the tokenizer, as text, with their ids.
    """

    tools: Family | None = None
    reasoning: Thinking | None = None
    special_ids: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        template: str | None,
        special_ids: Mapping[str, int] | None = None,
        tool_format: str = AUTO,
        reasoning_format: str = AUTO,
    ) -> "TurnFormat":
        """As the settings `tool_format` and `reasoning_format` say, and where they say `auto`, the chat template."""
        tools = detect_tool_format(template) if tool_format == AUTO else tool_format
        reasoning = detect_reasoning_format(template) if reasoning_format == AUTO else reasoning_format
        return cls(
            FAMILIES.get(tools or NONE),
            THINKING.get(reasoning or NONE),
            special_ids or {},
        )

    @property
    def family(self) -> Family:
        """The form in which calls are forced: the model's own, else plain objects."""
        return HARMONY if self.has_channels else self.tools or PLAIN

    def with_calls(self) -> "TurnFormat":
        """For turns of forced calls: they are read even where the model knows no form of its own."""
        return replace(self, tools=self.family)

    @property
    def has_channels(self) -> bool:
        """Whether all of a turn, text too, stands in messages with heads."""
        return self.tools is HARMONY or self.reasoning is THINKING[HARMONY.name]

    @property
    def markers(self) -> frozenset[str]:
        """What may stand around the parts of a turn."""
        parts = [self.tools, self.reasoning, HARMONY if self.has_channels else None]
        return frozenset(marker for part in parts if part is not None for marker in part.markers)

    @property
    def needs_special_tokens(self) -> bool:
        """Whether the text has to be asked for with its special tokens (`outputs.skip_special_tokens: false`)."""
        return len(self.removed) < len(self.special_ids)

    @property
    def removed(self) -> frozenset[str]:
        """The special tokens that are part of no marker."""
        return frozenset(token for token in self.special_ids if not any(token in mark for mark in self.markers))

    def for_choice(self, choice: ToolChoice) -> "TurnFormat":
        """The form in which turns are read that were asked for with this choice."""
        return self.with_calls() if choice.kind == "required" else self

    def begins_inside(self, prompt: str) -> bool:
        """Whether a turn after this prompt, or this tail of one, begins inside the reasoning."""
        return self.reasoning is not None and self.reasoning.is_open(prompt)

    def is_opened(self, text: Text, variables: dict[str, Any] | None = None) -> bool:
        """Whether the chat template begins the thoughts itself when an answer is to begin, before a prompt is rendered.

        variables: those that a request has for the template. A template that refuses them begins nothing.
        """
        if self.reasoning is None:
            return False
        try:
            return self.begins_inside(text.render_chat([{"role": "user", "content": "a"}], variables=variables))
        except InvalidRequest:
            return False

    def reader(self, tools: Mapping[str, Tool], call_id: CallId, is_inside: bool = False) -> TurnReader:
        """Reads the turn of one sequence. tools: those that may be called, by name. is_inside: `begins_inside`."""
        calls = Calls(tools if self.tools is not None else {}, call_id)

        def read(source: Source) -> Reading[None]:
            if self.has_channels:
                think = TextDelta if self.reasoning is None else ReasoningDelta
                yield from read_turn(source, calls, think, is_inside)
                return
            if self.reasoning is not None:
                yield from self.reasoning.read(source, is_inside)
            yield from self.tools.read(source, calls) if self.tools is not None and tools else read_text(source)

        return TurnReader(read, self.removed if self.needs_special_tokens else ())
