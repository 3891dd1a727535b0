"""The same greedy stream asked for at each door of this server, as a dialect.

What a stream gained counts as arrived where its protocol tells it, at the end.
"""

from dataclasses import dataclass, replace

from tokenizers import Tokenizer

from beamhouse.server.command.bench.doors import DOORS, GREEDY, NATIVE, Door, Fields, failure_in
from benchmarks.cases.loads import Ask
from benchmarks.serving.dialects import UNKNOWN
from benchmarks.serving.wire import BadAnswer

SCORED = replace(
    NATIVE,
    name="native-with-scores",
    asked=lambda text, number, fields: NATIVE.asked(text, number, {**fields, "outputs": {"transition_scores": True}}),
)
"""What TGI's streams always tell costs the engine as well, so this is what they are to be held against."""
MEASURED = (*DOORS, SCORED)


@dataclass(frozen=True, slots=True)
class AtDoor:
    """A door as a dialect: its prompts are texts."""

    door: Door
    tokenizer: Tokenizer

    @property
    def path(self) -> str:
        return self.door.path

    def body(self, ask: Ask) -> Fields:
        return self.door.body(self.tokenizer.decode(ask.prompt), ask.num_new, GREEDY)

    def tokens(self, name: str, data: Fields) -> list[int]:
        if failure_in(name, data):
            raise BadAnswer(str(data))
        return [UNKNOWN] * (self.door.told(data) or 0)
