"""Tools, their calls, documents and parts of text in the templates of several families, as the library renders them."""

from typing import Any

import pytest
from tokenizers import AddedToken, decoders
from transformers import PreTrainedTokenizerFast

from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.engine.text.tokenizer import Text
from beamhouse.schemas.model_info import TokenizerSwitches
from tests.engine.text.tiny_tokenizers import SPECIAL, byte_level, words

TEMPLATES = {
    "calls as tags": (
        "{%- if tools %}<|im_start|>system\nYou may call:\n{%- for tool in tools %}\n{{ tool | tojson }}{%- endfor %}"
        "<|im_end|>\n{%- endif %}"
        "{%- for message in messages %}{%- if message.role == 'tool' %}<|im_start|>user\n<tool_response>\n"
        "{{- message.content }}\n</tool_response><|im_end|>\n{%- else %}<|im_start|>{{ message.role }}\n"
        "{%- if message.content %}{{ message.content }}{%- endif %}{%- for call in message.tool_calls or [] %}"
        "{%- if call.function %}{%- set call = call.function %}{%- endif %}\n<tool_call>\n"
        '{"name": "{{ call.name }}", "arguments": {{ call.arguments | tojson }}}\n</tool_call>{%- endfor %}'
        "<|im_end|>\n{%- endif %}{%- endfor %}{%- if add_generation_prompt %}<|im_start|>assistant\n{%- endif %}"
    ),
    "calls as one object": (
        "{%- if not tools is defined %}{%- set tools = none %}{%- endif %}{{ bos_token }}"
        "{%- if tools is not none %}{%- for t in tools %}{{ t | tojson(indent=4) }}\n\n{%- endfor %}{%- endif %}"
        "{%- for message in messages %}{%- if message.role == 'tool' %}<|h|>ipython<|/h|>"
        "{%- if message.content is mapping or message.content is iterable %}{{ message.content | tojson }}"
        "{%- else %}{{ message.content }}{%- endif %}<|eot|>"
        "{%- elif 'tool_calls' in message %}{%- if message.tool_calls | length != 1 %}"
        "{{ raise_exception('one call at a time') }}{%- endif %}{%- set call = message.tool_calls[0].function %}"
        '<|h|>assistant<|/h|>{"name": "{{ call.name }}", "parameters": {{ call.arguments | tojson }}}<|eot|>'
        "{%- else %}<|h|>{{ message.role }}<|/h|>{{ message.content | trim }}<|eot|>{%- endif %}{%- endfor %}"
    ),
    "calls where nothing is said": (
        "{%- for m in messages %}{%- if m['role'] == 'assistant' and not m['content'] %}"
        "{%- for call in m['tool_calls'] %}[CALL]{{ call['id'] }}:{{ call['function']['name'] }}"
        "{%- for key, value in call.function.arguments.items() %} {{ key }}={{ value }}{%- endfor %}{%- endfor %}"
        "{%- elif m['role'] == 'tool' %}[RESULTS]{{ m.name }}/{{ m.tool_call_id }}: {{ m['content'] }}"
        "{%- else %}[{{ m['role'] }}]{{ m['content'] }}{%- endif %}{%- endfor %}"
        "{%- for tool in tools or [] %}{{ tool.function.name }}{{ tool.function['return'] }}"
        "{%- for name, field in tool.function.parameters.properties.items() %} {{ name }}:{{ field.type }}{%- endfor %}"
        "{%- endfor %}{%- for d in documents or [] %}<{{ d.title }}>{{ d['text'] }}{{ d | tojson }}{%- endfor %}"
    ),
    "parts": (
        "{%- for message in messages %}<|{{ message.role }}|>{%- if message.content is string %}{{ message.content }}"
        "{%- else %}{%- for part in message.content or [] %}{%- if part.type == 'image' %}<image>"
        "{%- elif part.type == 'text' %}{{ part.text }}{%- endif %}{%- endfor %}{%- endif %}"
        "{{ message.tool_calls | tojson if message.tool_calls }}{{ tools | tojson if tools }}{%- endfor %}"
    ),
}
WEATHER = {
    "function": {
        "name": "wétter",
        "description": "Says <b>how</b> it is",
        "parameters": {"type": "object", "properties": {"where": {"type": "string", "enum": ["é", None]}}},
        "return": {"type": "string"},
    },
    "type": "function",
}
CALL = {"id": "abc123def", "type": "function", "function": {"arguments": {"where": "Göttingen", "n": 1.0}, "name": "w"}}
RESULT = {"role": "tool", "name": "w", "tool_call_id": "abc123def", "content": "12 °C"}
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "asked": [{"role": "user", "content": "How is it?"}],
    "called": [{"role": "user", "content": "Now?"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}],
    "told": [
        {"role": "system", "content": " Be brief. "},
        {"role": "user", "content": "How is it?"},
        {"role": "assistant", "content": "I look.", "tool_calls": [CALL]},
        RESULT,
        {"role": "assistant", "content": "Cold."},
        {"role": "user", "content": "And now?"},
    ],
}


def both(template: str) -> tuple[Text, PreTrainedTokenizerFast]:
    tokenizer = words(decoders.Fuse())
    library = PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=template, **SPECIAL)
    return Text(tokenizer, template, SPECIAL), library


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS)
@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize("tools", [None, [], [WEATHER]], ids=["silent", "none", "one"])
def test_tools_and_calls_are_rendered_like_the_library_does(template, messages, tools):
    text, library = both(template)
    expected = library.apply_chat_template(messages, tools=tools, add_generation_prompt=True, tokenize=False)
    assert text.render_chat(messages, tools=tools) == expected


def test_documents_are_rendered_like_the_library_does():
    text, library = both(TEMPLATES["calls where nothing is said"])
    documents = [{"title": "é", "text": "b", "n": 1}, {"text": "c"}]
    expected = library.apply_chat_template(CONVERSATIONS["asked"], documents=documents, tokenize=False)
    assert text.render_chat(CONVERSATIONS["asked"], False, documents=documents) == expected


def parts(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text} for text in texts]


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_a_template_that_reads_parts_gets_them_as_the_library_gives_them(role: str):
    text, library = both(TEMPLATES["parts"])
    messages = [{"role": role, "content": parts(" a", "b ")}]
    expected = library.apply_chat_template(messages, tokenize=False)
    assert text.render_chat(messages, False) == expected == f"<|{role}|> ab "


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool", "critic"])
@pytest.mark.parametrize("name", [name for name in TEMPLATES if name != "parts"])
def test_parts_are_joined_for_a_template_that_reads_texts_alone(name: str, role: str):
    text, _ = both(TEMPLATES[name])
    in_parts, whole = ([{"role": role, "content": content}] for content in (parts("a", "", "b"), "a\n\nb"))
    assert text.render_chat(in_parts) == text.render_chat(whole)


def test_a_text_becomes_a_part_for_a_template_that_reads_parts_alone():
    text, library = both("{% for m in messages %}<{% for p in m.content %}{{ p.text }}{% endfor %}>{% endfor %}")
    expected = library.apply_chat_template([{"role": "user", "content": parts("a b")}], tokenize=False)
    assert text.render_chat([{"role": "user", "content": "a b"}]) == expected == "<a b>"


def test_a_final_message_of_joined_parts_is_continued():
    text, _ = both(TEMPLATES["calls as tags"])
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": parts("b", "c ")}]
    assert text.render_chat(messages, continue_final_message=True).endswith("<|im_start|>assistantb\nc ")


@pytest.mark.parametrize("field", ["tools", "documents"])
def test_what_the_template_does_not_read_is_refused_by_name(field: str):
    text, _ = both("{% for m in messages %}{{ m.content }}{% endfor %}")
    given: dict[str, Any] = {field: [{"title": "a"}]}
    with pytest.raises(InvalidRequest, match=f"does not read {field}") as caught:
        text.render_chat(CONVERSATIONS["asked"], **given)
    assert caught.value.problems[0].field == field
    assert text.render_chat(CONVERSATIONS["asked"], **{field: []}) == "How is it?"


def test_a_template_for_tools_is_taken_where_there_are_any():
    plain, with_tools = "plain", "{{ tools | length }} tools"
    library = PreTrainedTokenizerFast(
        tokenizer_object=words(None), chat_template={"default": plain, "tool_use": with_tools}, **SPECIAL
    )
    text = Text(words(None), plain, SPECIAL, TokenizerSwitches(tool_template=with_tools))
    for tools in (None, [], [WEATHER]):
        expected = library.apply_chat_template(CONVERSATIONS["asked"], tools=tools, tokenize=False)
        assert text.render_chat(CONVERSATIONS["asked"], tools=tools) == expected


WRITTEN = "</s>"


@pytest.mark.parametrize(
    "field",
    [
        "content",
        "part",
        "reasoning",
        "argument",
        "argument name",
        "call",
        "description",
        "parameter",
        "document",
        "variable",
    ],
)
def test_control_tokens_stay_text_wherever_people_write_them(field: str):
    template = (
        "{% for m in messages %}<|call|>{{ m | tojson }}{% endfor %}{{ tools | tojson }}{{ documents | tojson }}"
        "{{ mood }}{{ eos_token }}"
    )
    tokenizer = byte_level()
    tokenizer.add_special_tokens([AddedToken("</s>", special=True)])
    text = Text(tokenizer, template, SPECIAL)

    def said(name: str) -> str:
        return WRITTEN if field == name else "so"

    call = {"name": said("call"), "arguments": {said("argument name"): [said("argument")]}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": said("part")}]},
        {"role": "assistant", "content": said("content"), "reasoning_content": said("reasoning")},
        {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": call}]},
    ]
    parameters = {"type": "object", "properties": {said("parameter"): {"type": "string"}}}
    function = {"name": "f", "description": said("description"), "parameters": parameters}
    marked: dict[str, Any] = {
        "tools": text.mark_texts([{"type": "function", "function": function}], "tools"),
        "documents": text.mark_texts([{"text": said("document")}], "documents"),
        "variables": text.mark_texts({"mood": said("variable")}, "chat_template_kwargs"),
    }
    ids = text.encode_marked(text.render_chat(text.mark_control_tokens(messages), **marked))
    end = tokenizer.token_to_id("</s>")
    assert ids.count(end) == 1
    assert ids[-1] == end
    assert text.decode(ids, skip_special_tokens=False).count(WRITTEN) >= 2
