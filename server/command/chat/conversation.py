"""What was said in a chat, and the fields of the next request."""

import json
from difflib import get_close_matches
from typing import Any

from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.server.command.failures import CommandFailed
from beamhouse.server.command.options import read_value
from beamhouse.server.command.refusals import refused
from beamhouse.server.edge.strict_json import read_checked

OWN = {"inputs", "messages", "stream", "generation_config", "continue_final_message", "add_generation_prompt"}
"""Fields that the chat itself fills, or that would make no turn."""

REQUEST_FIELDS = {name: field for name, field in GenerateRequest.model_fields.items() if name not in OWN}
Turn = dict[str, str]


class Conversation:
    """Turns and fields. is_plain: there are no turns, and the model goes on behind all that was written.

    Turns are added by pairs: a message, then its answer, as far as it came.
    """

    def __init__(self, *, is_plain: bool, system: str | None, config: dict[str, Any], request: dict[str, Any]) -> None:
        self.is_plain = is_plain
        self.system = system
        self.config = config
        self.request = request
        self.turns: list[Turn] = []

    def body(self) -> dict[str, Any]:
        """Of `POST /generate`, for what was said until now."""
        said: dict[str, Any] = {"inputs": self.text} if self.is_plain else {"messages": self.messages}
        return said | ({"generation_config": self.config} if self.config else {}) | self.request

    @property
    def messages(self) -> list[Turn]:
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, *self.turns]

    @property
    def text(self) -> str:
        return (self.system or "") + "".join(turn["content"] for turn in self.turns)

    def say(self, text: str) -> None:
        self.turns.append({"role": "user", "content": text})

    def hear(self, text: str) -> None:
        self.turns.append({"role": "assistant", "content": text})

    def forget_answer(self) -> None:
        """So that the last message can be answered once more. Raises CommandFailed."""
        if not self.turns:
            raise CommandFailed("nothing was said yet")
        if self.turns[-1]["role"] == "assistant":
            self.turns.pop()

    def forget_message(self) -> None:
        """The last one, which has no answer."""
        self.turns.pop()

    def set(self, name: str, text: str) -> None:
        """A field of the configuration or of the request, from its text. Raises CommandFailed and sets nothing then."""
        place, fields = self._place(name)
        value = read_value(fields[name].annotation, text)
        asked: dict[str, Any] = {name: value} if place is self.request else {"generation_config": {name: value}}
        with refused(GenerateRequest):
            read_checked(json.dumps(asked).encode(), GenerateRequest)
        place[name] = value

    def unset(self, name: str) -> None:
        """Raises CommandFailed."""
        place, _ = self._place(name)
        if name not in place:
            raise CommandFailed(f"{name} is not set")
        del place[name]

    def _place(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Where a field of this name is kept, and the fields it is one of. Raises CommandFailed."""
        if name in GenerationConfig.model_fields:
            return self.config, GenerationConfig.model_fields
        if name in REQUEST_FIELDS:
            return self.request, REQUEST_FIELDS
        near = get_close_matches(name, [*GenerationConfig.model_fields, *REQUEST_FIELDS], n=3)
        raise CommandFailed(f"there is no field {name}" + (f"; near to it: {', '.join(near)}" if near else ""))
