"""Chat templates: the model's own jinja2 template, in a sandbox, turns messages into a prompt."""

import time
from collections.abc import Iterator
from typing import Any, Literal

import jinja2
import jinja2.meta
import jinja2.nodes

from beamhouse.engine.link.errors import InvalidRequest, invalid
from beamhouse.engine.text.content_forms import ContentForms
from beamhouse.engine.text.sandbox import MAX_CHARACTERS, template_environment
from beamhouse.schemas.problems import MAX_SHOWN
from beamhouse.schemas.words import ProblemCode

MAX_S = 5.0
"""Longest time a template may take, looked at whenever it writes."""

CONTINUE_HERE = "CONTINUE-THIS-MESSAGE-HERE "
"""Marks the end of the final message; its space shows whether the template strips messages."""

REASONING_FIELDS = ("reasoning_content", "thinking", "reasoning")
"""Names under which a message may carry its reasoning; templates read the first, some the second."""

Turn = dict[str, Any]
Ending = Literal["prompt", "continue", "none"]


def _refused(message: str, field: str = "messages", code: ProblemCode = ProblemCode.CHAT_TEMPLATE) -> InvalidRequest:
    return invalid(field, code, message)


class ChatTemplate:
    """A model's template. Templates never come from clients. Equals `apply_chat_template(..., tokenize=False)`.

    literals: what the template writes or compares with by itself, its strings parted by NUL.
    """

    def __init__(self, source: str | None, special_tokens: dict[str, str]) -> None:
        self._special_tokens = special_tokens
        self._template: jinja2.Template | None = None
        self._reads: frozenset[str] = frozenset()
        self._forms = ContentForms(self._attempted)
        self.literals = ""
        self._fault = "this model has no chat template"
        if source is None:
            return
        environment = template_environment()
        try:
            tree = environment.parse(source)
            self._reads = frozenset(jinja2.meta.find_undeclared_variables(tree))
            self.literals = _literals(tree)
            self._template = environment.from_string(source)
        except (jinja2.TemplateError, RecursionError) as fault:
            # The model still continues plain text.
            self._fault = f"this model's chat template cannot be read: {str(fault)[:200]}"

    def render(
        self,
        messages: list[Turn],
        ending: Ending = "prompt",
        tools: list[dict[str, Any]] | None = None,
        documents: list[dict[str, Any]] | None = None,
        variables: dict[str, Any] | None = None,
    ) -> str:
        """The prompt. ending: begin the assistant's answer, continue the final message, or neither.

        variables: further ones that the template reads, as `enable_thinking`. Variables, tools and documents that it
        does not read are refused, and whatever it does not accept: all raise InvalidRequest.
        """
        if self._template is None:
            raise _refused(self._fault, code=ProblemCode.NOT_SUPPORTED)
        if not messages:
            raise _refused("give at least one message", code=ProblemCode.TOO_FEW)
        self._check_variables(variables or {})
        for name, given in (("tools", tools), ("documents", documents)):
            if given and not self.reads(name):
                message = f"this model's chat template does not read {name}, so they would have no effect"
                raise _refused(message, name, ProblemCode.NOT_SUPPORTED)
        stated = [{key: value for key, value in message.items() if value is not None} for message in messages]
        chat = [_with_reasoning(self._forms.fitted(message)) for message in stated]
        if ending == "continue":
            chat[-1] = _marked(chat[-1])
        beside = {"tools": tools, "documents": documents, "add_generation_prompt": ending == "prompt"}
        prompt = self._written(chat, beside | (variables or {}))
        return _cut(prompt) if ending == "continue" else prompt

    def reads(self, name: str) -> bool:
        """Whether the template looks at a variable."""
        return name in self._reads

    def _written(self, chat: list[Turn], beside: dict[str, Any]) -> str:
        assert self._template is not None, "asked for by those who have one"
        return _collected(self._template.generate(self._special_tokens | beside, messages=chat))

    def _attempted(self, chat: list[Turn]) -> str | None:
        try:
            return self._written(chat, {"tools": None, "documents": None, "add_generation_prompt": False})
        except InvalidRequest:
            return None

    def _check_variables(self, variables: dict[str, Any]) -> None:
        taken = {"messages", "tools", "documents", "add_generation_prompt", *self._special_tokens}
        allowed = self._reads - taken - template_environment().globals.keys()
        for name in variables:
            if name not in allowed:
                known = ", ".join(sorted(allowed)) or "none"
                message = f"the chat template reads no variable {name[:MAX_SHOWN]}; it reads: {known}"
                raise _refused(message, f"chat_template_kwargs.{name[:MAX_SHOWN]}", ProblemCode.UNKNOWN_FIELD)


def _literals(tree: jinja2.nodes.Template) -> str:
    texts = {node.data for node in tree.find_all(jinja2.nodes.TemplateData)}
    texts |= {node.value for node in tree.find_all(jinja2.nodes.Const) if isinstance(node.value, str)}
    return "\0".join(sorted(texts))


def _collected(pieces: Iterator[str]) -> str:
    """The rendered text, unless it takes too long or gets too long."""
    written, num_characters, end = [], 0, time.monotonic() + MAX_S
    try:
        for piece in pieces:
            written.append(piece)
            num_characters += len(piece)
            if num_characters > MAX_CHARACTERS:
                raise _refused(
                    f"the chat template writes more than {MAX_CHARACTERS} characters", code=ProblemCode.TOO_LONG
                )
            if time.monotonic() > end:
                raise _refused(f"the chat template takes more than {MAX_S} s", code=ProblemCode.TOO_LONG)
    except InvalidRequest:
        raise
    except Exception as fault:
        # A template is a program of the model's author: it may raise anything at messages it does not expect.
        raise _refused(f"the chat template refuses these messages: {str(fault)[:200]}") from fault
    return "".join(written)


def _with_reasoning(message: Turn) -> Turn:
    given = next((message[field] for field in REASONING_FIELDS if message.get(field) is not None), None)
    return message if given is None else {"thinking": given, **message, "reasoning_content": given}


def _marked(message: Turn) -> Turn:
    """The message, its text (or its last text part) followed by the mark."""
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": content + CONTINUE_HERE}
    parts = list(content) if isinstance(content, list) else []
    for at in reversed(range(len(parts))):
        if isinstance(parts[at], dict) and isinstance(parts[at].get("text"), str):
            parts[at] = {**parts[at], "text": parts[at]["text"] + CONTINUE_HERE}
            return {**message, "content": parts}
    raise _refused("the final message has no text to continue")


def _cut(prompt: str) -> str:
    """The prompt up to the mark, without trailing space if the template strips messages."""
    at = prompt.rfind(CONTINUE_HERE.strip())
    if at < 0:
        raise _refused("the chat template does not write the final message, so it cannot be continued")
    return prompt[:at] if prompt.startswith(CONTINUE_HERE, at) else prompt[:at].rstrip()
