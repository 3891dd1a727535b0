"""Prompts of conversations: those of the library, and templates that are broken or mean harm."""

import time
from typing import Any

import pytest
from tokenizers import decoders
from transformers import PreTrainedTokenizerFast

from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.engine.text.tokenizer import Text
from tests.engine.text.tiny_tokenizers import SPECIAL, words

TEMPLATES = {
    "chatml": (
        "{%- if tools %}\n{{- '<|im_start|>system\\n# Tools\\n' }}\n{%- for tool in tools %}\n{{- '\\n' }}\n"
        "{{- tool | tojson }}\n{%- endfor %}\n{{- '<|im_end|>\\n' }}\n{%- endif %}\n"
        "{%- for message in messages %}\n"
        "{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') + '<|im_end|>' + '\\n' }}\n{%- endfor %}\n"
        "{%- if add_generation_prompt %}\n{{- '<|im_start|>assistant\\n' }}\n"
        "{%- if enable_thinking is defined and enable_thinking is false %}\n{{- '<think>\\n\\n</think>\\n\\n' }}\n"
        "{%- endif %}\n{%- endif %}"
    ),
    "llama2": (
        "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
        "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
        "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
        "{% if loop.index0 == 0 and system_message %}{% set content = '<<SYS>>\\n' + system_message + "
        "'\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}"
        "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
    ),
    "llama3": (
        "{{- bos_token }}\n{%- if not date_string is defined %}"
        "{%- set date_string = strftime_now('%Y') %}{%- endif %}\n"
        "Date: {{ date_string }}\n"
        "{%- macro turn(role, content) %}<|h|>{{ role }}<|/h|>\n\n{{ content | trim }}<|eot|>{% endmacro %}\n"
        "{%- for message in messages %}\n{%- if message.role == 'tool' %}{%- continue %}{%- endif %}\n"
        "{{- turn(message['role'], message['content']) }}\n"
        "{%- if message.content is string and 'STOP' in message.content %}{%- break %}{%- endif %}\n{%- endfor %}\n"
        "{%- if add_generation_prompt %}{{ '<|h|>assistant<|/h|>\\n\\n' }}{%- endif %}\n"
    ),
    "reasoning": (
        "{%- set ns = namespace(last=-1, seen=dict(a=1)) %}\n"
        "{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}\n"
        "{%- for m in messages %}\n[{{ m.role }}]\n"
        "{%- if m.reasoning_content %}<think>{{ m.reasoning_content }}|{{ m.thinking }}</think>{%- endif %}\n"
        "{%- if m.content is string %}{{ m.content }}{%- else %}{%- for part in m.content or [] %}{{ part.text }}"
        "{%- endfor %}{%- endif %}\n"
        "{%- if 'tool_calls' in m %}{{ m.tool_calls | tojson(indent=2) }}{%- endif %}\n"
        "{%- generation %}({{ ns.last }}){%- endgeneration %}\n{%- endfor %}\n"
        "{%- if documents %}{%- for d in documents %}{{ d.title }}:{{ d.text }}{%- endfor %}{%- endif %}"
    ),
}
MESSAGES: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": "  Hi <b>there</b> & 'you' é👩  "}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1+1?\n"},
        {"role": "assistant", "content": " 2 STOP ", "thinking": "hm"},
    ],
    [
        {"role": "user", "content": "a", "name": None},
        {"role": "assistant", "content": "b", "reasoning": "because", "tool_calls": [{"function": {"name": "<f>"}}]},
        {"role": "user", "content": "c"},
    ],
]
TOOLS = [{"type": "function", "function": {"name": "wétter", "parameters": {"a": [1, None, True]}}}]


def both(template: str) -> tuple[Text, PreTrainedTokenizerFast]:
    tokenizer = words(decoders.Fuse())
    library = PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=template, **SPECIAL)
    return Text(tokenizer, template, SPECIAL), library


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("messages", MESSAGES, ids=len)
@pytest.mark.parametrize("prompt", [True, False])
def test_prompts_equal_the_library(name: str, messages: list[dict[str, Any]], prompt: bool):
    text, library = both(TEMPLATES[name])
    given: dict[str, Any] = {"tools": TOOLS, "documents": [{"title": "t", "text": "x"}]}
    given = {field: value for field, value in given.items() if f" {field} " in TEMPLATES[name]}
    expected = library.apply_chat_template(messages, **given, add_generation_prompt=prompt, tokenize=False)
    assert text.render_chat(messages, prompt, **given) == expected
    expected = library.apply_chat_template(messages, add_generation_prompt=prompt, tokenize=False)
    assert text.render_chat(messages, prompt) == expected


@pytest.mark.parametrize(("name", "in_parts"), [*((name, False) for name in TEMPLATES), ("reasoning", True)])
@pytest.mark.parametrize("end", ["2 and", "2 and ", " 2\n"])
def test_a_final_message_is_continued_like_the_library_does(name: str, end: str, in_parts: bool):
    text, library = both(TEMPLATES[name])
    content = [{"type": "text", "text": "so: "}, {"type": "text", "text": end}] if in_parts else end
    messages = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": content}]
    template = {"tokenize": False, "continue_final_message": True}
    assert text.render_chat(messages, continue_final_message=True) == library.apply_chat_template(messages, **template)


def test_rendering_leaves_the_messages_alone():
    text, _ = both(TEMPLATES["reasoning"])
    messages = [{"role": "user", "content": [{"text": "a"}], "reasoning": "r", "name": None}]
    text.render_chat(messages, continue_final_message=True)
    assert messages == [{"role": "user", "content": [{"text": "a"}], "reasoning": "r", "name": None}]


def test_variables_the_template_reads_are_passed_on():
    text, library = both(TEMPLATES["chatml"])
    expected = library.apply_chat_template(
        MESSAGES[0], add_generation_prompt=True, enable_thinking=False, tokenize=False
    )
    assert text.render_chat(MESSAGES[0], variables={"enable_thinking": False}) == expected
    assert "<think>" in expected


@pytest.mark.parametrize("name", ["chat_template", "tokenize", "messages", "bos_token", "range", "unheard"])
def test_other_variables_are_refused_by_name(name: str):
    text, _ = both(TEMPLATES["chatml"] + "{{ bos_token }}{{ range(1) }}")
    with pytest.raises(InvalidRequest, match="it reads: enable_thinking") as caught:
        text.render_chat(MESSAGES[0], variables={name: "x"})
    assert caught.value.problems[0].field == f"chat_template_kwargs.{name}"


def refusal(template: str | None, messages: list[dict[str, Any]] = MESSAGES[0], **options: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        Text(words(None), template, SPECIAL).render_chat(messages, **options)
    (problem,) = caught.value.problems
    assert problem.field == "messages"
    assert len(problem.message) < 400
    return problem.message


def test_what_the_template_raises_is_told():
    message = refusal(TEMPLATES["llama2"], [{"role": "assistant", "content": "a"}])
    assert message == "the chat template refuses these messages: Conversation roles must alternate user/assistant"


def test_a_model_without_template_takes_no_messages():
    assert refusal(None) == "this model has no chat template"


def test_a_template_that_cannot_be_read_refuses_messages_but_not_the_model():
    assert "cannot be read: " in refusal("{% if %}")


def test_no_messages_are_refused():
    assert "at least one" in refusal(TEMPLATES["chatml"], [])


@pytest.mark.parametrize("content", [None, 7, [], [{"type": "image"}]])
def test_a_final_message_without_text_is_not_continued(content: object):
    refusal(TEMPLATES["reasoning"], [{"role": "user", "content": content}], continue_final_message=True)


def test_a_template_that_drops_the_final_message_cannot_continue_it():
    assert "does not write" in refusal("nothing", MESSAGES[0], continue_final_message=True)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='x') }}",
        "{{ raise_exception.__globals__.items() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ lipsum.__globals__['os'].system('id') }}",
        "{{ ('%s' | attr('format'))('a') }}{{ (messages | attr('__class__')).mro() }}",
        "{% set ns = namespace(_x=1) %}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}{{ ns }}",
        "{{ dict.__class__.__base__.__subclasses__() }}",
        "{{ '{0.__class__.__base__}'.format(1).mro() }}",
        "{% include 'etc/passwd' %}",
        "{{ range(10000000) | list }}",
        "{{ 'a' * 100000000 }}",
        "{{ [0] * 100000000 }}",
        "{{ 9 ** 99999999 }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ unheard.field }}",
        "{{ 1 / 0 }}",
    ],
)
def test_hostile_or_broken_templates_end_in_a_refusal(template: str):
    refusal(template)


def test_endless_output_is_cut_off():
    loop = "{% for a in range(100000) %}{% for b in range(100000) %}xxxxxxxxxxxxxxxx{% endfor %}{% endfor %}"
    assert "writes more than" in refusal(loop)


def test_slow_templates_are_stopped(monkeypatch):
    clock = iter(range(0, 10_000, 1))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    assert "takes more than" in refusal("{% for a in range(100) %}{{ a }}{% endfor %}")
