"""A model that thinks and calls tools, in the form of Hermes."""

TEMPLATE = (
    "{% if tools %}{{ tools | tojson }}<tool_call></tool_call>{% endif %}<think></think>"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
)
CALLING = '<think>hm</think>so\n<tool_call>\n{"name": "look", "arguments": {"at": "x"}}\n</tool_call>'
