"""The chat itself: lines are messages, lines that begin with a slash are commands."""

import json
import readline
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from beamhouse.engine.link.errors import EngineError
from beamhouse.server.command.chat.conversation import Conversation
from beamhouse.server.command.chat.partners import Partner
from beamhouse.server.command.failures import CommandFailed

PROMPT, GOES_ON = "> ", ". "
NO_TEMPLATE = (
    "{name} has no chat template: it continues texts and knows no turns. --plain lets it go on behind what you write."
)
HELP = """\
/set FIELD VALUE   any field of GenerationConfig or of a request: /set temperature 0.7
/unset FIELD       back to what the model's own file says
/show              the fields that are set, the system prompt, how much was said
/retry             answer the last message once more
/clear             forget all that was said
/save FILE         write the conversation and its fields, as a body of POST /generate
/help, /exit       Ctrl-C stops an answer, Ctrl-D leaves; a line that ends in \\ goes on in the next one"""


class Chat:
    """One conversation with one partner."""

    def __init__(self, partner: Partner, conversation: Conversation) -> None:
        if not conversation.is_plain and not partner.about.has_chat_template:
            raise CommandFailed(NO_TEMPLATE.format(name=partner.about.name))
        self.partner = partner
        self.conversation = conversation
        self.console = Console(highlight=False)
        self.is_over = False
        self.commands: dict[str, Callable[[str], None]] = {
            "/set": self.set,
            "/unset": self.conversation.unset,
            "/show": self.show,
            "/clear": self.clear,
            "/retry": self.retry,
            "/save": self.save,
            "/help": lambda _: self.note(HELP),
            "/exit": self.leave,
        }

    def run(self) -> None:
        """Until somebody leaves."""
        readline.set_auto_history(True)
        kind = "it goes on behind what you write" if self.conversation.is_plain else "a conversation"
        self.note(f"{self.partner.about.name}: {kind}; /help says what else there is")
        while not self.is_over:
            try:
                self.take(read_line())
            except EOFError:
                self.note("")
                self.leave("")
            except KeyboardInterrupt:
                self.note("")
            except (CommandFailed, EngineError) as error:
                self.console.print(str(error), style="red", markup=False)

    def take(self, line: str) -> None:
        """One line. Raises CommandFailed."""
        word, _, rest = line.strip().partition(" ")
        if word.startswith("/"):
            if word not in self.commands:
                raise CommandFailed(f"there is no command {word}; /help lists them")
            self.commands[word](rest.strip())
        elif line.strip():
            self.conversation.say(line)
            self.answer()

    def answer(self) -> None:
        """Let the partner answer what was said last, and keep what came; without an answer the message is forgotten."""
        pieces: list[str] = []
        is_heard = True

        def show(text: str) -> None:
            if is_heard:  # a piece may be on its way when the answer is stopped
                pieces.append(text)
                print(text, end="", flush=True)

        try:
            answer = self.partner.answer(self.conversation.body(), show)
        except KeyboardInterrupt:
            is_heard = False
            self.conversation.hear("".join(pieces))
            self.note("\n(stopped)")
            return
        except (CommandFailed, EngineError):
            self.conversation.forget_message()
            if pieces:
                print()
            raise
        print()
        self.end(answer)

    def end(self, answer: dict[str, Any]) -> None:
        """Keep the first sequence; show the others, and whether it was cut."""
        first, *others = answer["sequences"]
        self.conversation.hear(first["text"])
        for number, sequence in enumerate(others, start=2):
            self.note(f"--- {number}")
            print(sequence["text"])
        if first["finish_reason"]["type"] == "length":
            self.note("(cut: the maximum length is reached)")
        for warning in answer.get("warnings", []):
            self.note(f"({warning})")

    def set(self, rest: str) -> None:
        name, _, value = rest.partition(" ")
        if not value:
            raise CommandFailed("/set takes a field and its value: /set temperature 0.7")
        self.conversation.set(name, value.strip())

    def show(self, _: str) -> None:
        fields = self.conversation.config | self.conversation.request
        lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
        if self.conversation.system is not None:
            lines.append(f"system: {self.conversation.system}")
        lines.append(f"{len(self.conversation.turns)} turns")
        self.note("\n".join(lines))

    def clear(self, _: str) -> None:
        self.conversation.turns.clear()

    def retry(self, _: str) -> None:
        self.conversation.forget_answer()
        self.answer()

    def save(self, file: str) -> None:
        if not file:
            raise CommandFailed("/save takes the name of a file")
        text = json.dumps(self.conversation.body(), indent=2, ensure_ascii=False)
        try:
            Path(file).expanduser().write_text(f"{text}\n", encoding="utf-8")
        except OSError as error:
            raise CommandFailed(f"{file} cannot be written: {error.strerror}") from error

    def leave(self, _: str) -> None:
        self.is_over = True

    def note(self, text: str) -> None:
        """What the chat says, apart from what the model says."""
        self.console.print(text, style="dim", markup=False)


def read_line() -> str:
    """A line, with those it goes on in. Raises EOFError and KeyboardInterrupt."""
    lines = [input(PROMPT)]
    while lines[-1].endswith("\\"):
        lines[-1] = lines[-1][:-1]
        lines.append(input(GOES_ON))
    return "\n".join(lines)
