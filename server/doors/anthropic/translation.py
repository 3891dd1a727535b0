"""What a body of Anthropic's protocol asks for in our own words: pure functions."""

from typing import Literal

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.anthropic.blocks import (
    FreeChoice,
    NamedChoice,
    NoChoice,
    ThinkingConfig,
    ThinkingOff,
    ThinkingOn,
)
from beamhouse.schemas.anthropic.blocks import ToolChoice as GivenChoice
from beamhouse.schemas.anthropic.messages import Asked, MessagesRequest
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.beamhouse.response_format import SchemaFormat
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.asking.drawing import (
    MAX_LENGTH,
    MAX_NEW_TOKENS,
    NUM_RETURNED,
    PROMPT_ONLY,
    STOP_STRINGS,
    decide_drawing,
    decide_stop_string,
    gather_own,
)
from beamhouse.server.asking.expected_turn import Expected, gather_expected
from beamhouse.server.asking.gathering import Gathering
from beamhouse.server.asking.turns import VARIABLES, gather_turns, put_variable
from beamhouse.server.conversation.tools import ToolChoice
from beamhouse.server.doors.anthropic.conversation import conversation_of, tool_names, tools_of
from beamhouse.server.service import Model

SWITCHES = ("enable_thinking", "thinking")
"""Variables by which chat templates are told to let the model think, or not to."""
BUDGET = "thinking_budget"


def translate_messages(body: MessagesRequest, model: Model) -> GenerateRequest:
    """Raises InvalidRequest."""
    asked = Gathering()
    gather_own(asked, body)
    gather_conversation(asked, body, model)
    gather_length(asked, body)
    asked.put(STOP_STRINGS, body.stop_sequences or None, "stop_sequences")
    decide_stop_string(asked, "stop_sequences")
    gather_expected(asked, expected_of(body), model)
    decide_drawing(asked, body, model.config)
    if (asked.get(NUM_RETURNED) or 1) > 1:
        message = f"num_return_sequences is {asked.get(NUM_RETURNED)}; allowed: 1, the one message of the answer"
        raise invalid(asked.given_names[NUM_RETURNED], ProblemCode.OUT_OF_RANGE, message)
    asked.settle(NUM_RETURNED, 1, "num_return_sequences")
    if isinstance(body.thinking, ThinkingOn) and body.thinking.budget_tokens >= body.max_tokens:
        message = f"budget_tokens is {body.thinking.budget_tokens}; allowed: less than max_tokens, {body.max_tokens}"
        raise invalid("thinking.budget_tokens", ProblemCode.OUT_OF_RANGE, message)
    return asked.request()


def gather_length(asked: Gathering, body: MessagesRequest) -> None:
    """As many tokens as were asked for, and no more than there is room for; of 0 the prompt is computed alone."""
    asked.put(MAX_NEW_TOKENS, body.max_tokens, "max_tokens")
    if body.max_tokens == 0:
        asked.drop(MAX_NEW_TOKENS)
        asked.put(PROMPT_ONLY, True, "max_tokens")
    elif asked.get(MAX_LENGTH) is None:
        asked.put("fill_context", True, "max_tokens")


def expected_of(body: Asked) -> Expected:
    """What is expected of the turn."""
    held = None if body.output_config is None else body.output_config.format
    return Expected(
        tools_of(body.tools or ()),
        choice_of(body.tool_choice),
        None if held is None else SchemaFormat(type="json_schema", schema=held.json_schema),
        "output_config.format",
    )


def choice_of(given: GivenChoice | None) -> ToolChoice:
    match given:
        case NamedChoice():
            return ToolChoice("required", (given.name,), is_parallel=not given.disable_parallel_tool_use)
        case FreeChoice():
            kind: Literal["required", "auto"] = "required" if given.type == "any" else "auto"
            return ToolChoice(kind, is_parallel=not given.disable_parallel_tool_use)
        case NoChoice():
            return ToolChoice("none")
    return ToolChoice()


def translate_count(body: Asked, model: Model) -> GenerateRequest:
    """The conversation, as it would be shown to the model. Raises InvalidRequest."""
    asked = Gathering()
    gather_conversation(asked, body, model)
    gather_expected(asked, expected_of(body), model)
    return asked.request()


def gather_conversation(asked: Gathering, body: Asked, model: Model) -> None:
    """What the model is shown. Raises InvalidRequest."""
    gather_turns(asked, conversation_of(body.system, body.messages), "messages")
    if body.tools:
        asked.put("tools", tools_of(body.tools), "tools")
        asked.given_names |= tool_names(len(body.tools))
    asked.put(VARIABLES, body.chat_template_kwargs, VARIABLES)
    if body.thinking is not None:
        gather_thinking(asked, body.thinking, model)
    if body.output_config is not None and body.output_config.effort is not None:
        put_variable(asked, "reasoning_effort", body.output_config.effort, "output_config.effort")


def gather_thinking(asked: Gathering, thinking: ThinkingConfig, model: Model) -> None:
    """Told to the chat template where it listens; else only what the model does anyhow is accepted.

    A budget is a target, as in the API: a template that reads one tells it to the model, and `max_tokens` holds.
    """
    switch = next((name for name in SWITCHES if model.text is not None and model.text.reads_variable(name)), None)
    does_think = model.turns.reasoning is not None
    match thinking:
        case ThinkingOff() if switch is not None:
            put_variable(asked, switch, False, "thinking")
        case ThinkingOff() if does_think:
            message = "this model always thinks, and its chat template has no word against it"
            raise invalid("thinking.type", ProblemCode.NOT_SUPPORTED, message)
        case ThinkingOn() if switch is not None:
            put_variable(asked, switch, True, "thinking")
        case ThinkingOn() if not does_think:
            raise invalid("thinking.type", ProblemCode.NOT_SUPPORTED, "this model does not think before it answers")
    if isinstance(thinking, ThinkingOn) and model.text is not None and model.text.reads_variable(BUDGET):
        put_variable(asked, BUDGET, thinking.budget_tokens, "thinking.budget_tokens")
