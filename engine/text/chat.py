"""Chat templates: the model's own jinja2 template, in a sandbox, turns messages into a prompt."""

import json
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.nodes
from jinja2.exceptions import SecurityError
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from beamhouse.engine.link.errors import InvalidRequest, invalid
from beamhouse.schemas.words import ProblemCode

MAX_CHARACTERS = 8_000_000
"""Longest prompt a template may write, and longest text a single multiplication in it may make."""

MAX_S = 5.0
"""Longest time a template may take, looked at whenever it writes."""

MAX_EXPONENT = 64

CONTINUE_HERE = "CONTINUE-THIS-MESSAGE-HERE "
"""Marks the end of the final message; its space shows whether the template strips messages."""

REASONING_FIELDS = ("reasoning_content", "thinking", "reasoning")
"""Names under which a message may carry its reasoning; templates read the first, some the second."""

Turn = dict[str, Any]
Ending = Literal["prompt", "continue", "none"]


class _PlainDict:
    """`dict` for templates: calling and `fromkeys`, none of the type's other attributes."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _PlainNamespace(Namespace):
    """`namespace` for templates, without names that begin with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, *values = args
        names = dict(*values, **kwargs)
        for name in names:
            _check_name(name)
        Namespace.__init__(self, names)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace takes no name with a leading underscore: {name!r}")


class _GenerationBlock(jinja2.ext.Extension):
    """`{% generation %}` marks what the assistant wrote, for training; here its content is simply written."""

    tags = {"generation"}  # noqa: RUF012 - the attribute jinja2 reads

    def parse(self, parser: Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body).set_lineno(line)


class _Sandbox(ImmutableSandboxedEnvironment):
    """No attribute access to internals, no change of what is passed in, no huge product."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and isinstance(right, int) and right > MAX_EXPONENT:
            raise SecurityError(f"exponent {right} is over {MAX_EXPONENT}")
        for sized, times in ((left, right), (right, left)) if operator == "*" else ():
            if isinstance(sized, str | list | tuple) and isinstance(times, int) and len(sized) * times > MAX_CHARACTERS:
                raise SecurityError(f"a repetition gives more than {MAX_CHARACTERS} characters")
        return super().call_binop(context, operator, left, right)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _environment() -> jinja2.Environment:
    environment = _Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.globals |= {
        "raise_exception": _raise_exception,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "dict": _PlainDict(),
        "namespace": _PlainNamespace,
    }
    return environment


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
        self.literals = ""
        self._fault = "this model has no chat template"
        if source is None:
            return
        environment = _environment()
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

        variables: further ones that the template reads, as `enable_thinking`; others are refused. Whatever the template
        does not accept raises InvalidRequest.
        """
        if self._template is None:
            raise _refused(self._fault, code=ProblemCode.NOT_SUPPORTED)
        if not messages:
            raise _refused("give at least one message", code=ProblemCode.TOO_FEW)
        self._check_variables(variables or {})
        chat = [_with_reasoning({k: v for k, v in message.items() if v is not None}) for message in messages]
        if ending == "continue":
            chat[-1] = _marked(chat[-1])
        pieces = self._template.generate(
            self._special_tokens | (variables or {}),
            messages=chat,
            tools=tools,
            documents=documents,
            add_generation_prompt=ending == "prompt",
        )
        prompt = _collected(pieces)
        return _cut(prompt) if ending == "continue" else prompt

    def _check_variables(self, variables: dict[str, Any]) -> None:
        taken = {"messages", "tools", "documents", "add_generation_prompt", *self._special_tokens}
        allowed = self._reads - taken - _environment().globals.keys()
        for name in variables:
            if name not in allowed:
                known = ", ".join(sorted(allowed)) or "none"
                raise _refused(
                    f"the chat template reads no such variable; it reads: {known}", name, ProblemCode.UNKNOWN_FIELD
                )


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
