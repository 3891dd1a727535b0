"""In which form a chat template takes what a message says: as one text, or as a list of parts. It is asked.

A template is a program, so nothing is guessed from how it is written. It renders a short conversation twice, once with
a text and once with that text as the only part of a list, and what comes out tells which of the two it reads.
"""

from collections.abc import Callable
from typing import Any

Turn = dict[str, Any]

BETWEEN_PARTS = "\n"
"""Joins the parts of a message for a template that takes texts alone."""

PROBE = "what-a-message-says"
PART_KEYS = ("'text'", '"text"')
"""How a list of parts looks that was written down as it is, instead of being read."""

_CALL_ID = "probe0001"  # some templates insist on nine letters and digits
_CALL = {"id": _CALL_ID, "type": "function", "function": {"name": "probe", "arguments": {}}}
_USER = {"role": "user", "content": "so"}
_CALLING = {"role": "assistant", "content": "so", "tool_calls": [_CALL]}
_AROUND: dict[str, tuple[list[Turn], Turn, list[Turn]]] = {
    "system": ([], {}, [_USER]),
    "developer": ([], {}, [_USER]),
    "user": ([], {}, []),
    "assistant": ([_USER], {}, [_USER]),
    "tool": ([_USER, _CALLING], {"name": "probe", "tool_call_id": _CALL_ID}, []),
}
"""By role the turns before a message, its other fields, and the turns after it, as templates that check turns want."""


class ContentForms:
    """Fits messages to one template. render: what it makes of a conversation, None where it raises."""

    def __init__(self, render: Callable[[list[Turn]], str | None]) -> None:
        self._render = render
        self._reads: dict[str, tuple[bool, bool]] = {}  # by role: texts, parts

    def fitted(self, message: Turn) -> Turn:
        """The message in a form that the template reads.

        Parts stay parts where the template writes the same for a text and for that text as one part; else they are
        joined, line by line. A text becomes one part for a template that reads parts alone.
        """
        content = message.get("content")
        if not isinstance(content, str | list):
            return message
        reads_text, reads_parts = self._of(message.get("role"))
        if isinstance(content, str):
            return message if reads_text or not reads_parts else {**message, "content": [_part(content)]}
        return message if reads_parts else {**message, "content": BETWEEN_PARTS.join(part["text"] for part in content)}

    def _of(self, role: Any) -> tuple[bool, bool]:
        if role not in _AROUND:
            return True, False
        if role not in self._reads:
            self._reads[role] = self._asked(role)
        return self._reads[role]

    def _asked(self, role: str) -> tuple[bool, bool]:
        of_text, of_parts = self._rendered(role, PROBE), self._rendered(role, [_part(PROBE)])
        if of_text is not None:
            return True, of_parts == of_text
        return False, of_parts is not None and not any(key in of_parts for key in PART_KEYS)

    def _rendered(self, role: str, content: str | list[Turn]) -> str | None:
        """What the template makes of it; None where the content is not in there."""
        before, beside, after = _AROUND[role]
        rendered = self._render([*before, {"role": role, **beside, "content": content}, *after])
        return rendered if rendered is not None and PROBE in rendered else None


def _part(text: str) -> Turn:
    return {"type": "text", "text": text}
