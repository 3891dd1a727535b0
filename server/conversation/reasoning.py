"""How models mark what they think before they answer."""

from collections.abc import Mapping
from dataclasses import dataclass

from beamhouse.server.conversation.deltas import ReasoningDelta
from beamhouse.server.conversation.families.harmony import HARMONY, THOUGHTS
from beamhouse.server.conversation.source import Reading, Source


@dataclass(frozen=True, slots=True)
class Thinking:
    """Thoughts between two marks, at the beginning of a turn."""

    name: str
    begin: str
    end: str

    @property
    def markers(self) -> tuple[str, ...]:
        return self.begin, self.end

    def is_open(self, prompt: str) -> bool:
        """Whether the turn begins inside the thoughts: the prompt, or its tail, opens them and does not close them."""
        return prompt.rfind(self.begin) > prompt.rfind(self.end)

    def read(self, source: Source, is_open: bool) -> Reading[None]:
        """Read the thoughts, if there are any. is_open: the prompt has begun them."""
        source.mark()
        yield from source.blanks()
        has_begun = yield from source.takes(self.begin)
        if not (has_begun or is_open):
            source.back()
            return
        source.release()
        yield ReasoningDelta("")
        end: str | None = None
        while end is None and (yield from source.more()):
            text, end = yield from source.piece([self.end])
            yield ReasoningDelta(text)


THINKING: Mapping[str, Thinking] = {
    thinking.name: thinking
    for thinking in (
        Thinking("think", "<think>", "</think>"),
        Thinking("mistral", "[THINK]", "[/THINK]"),
        Thinking(HARMONY.name, THOUGHTS, "<|end|>"),
        Thinking("gemma4", "<|channel>thought\n", "<channel|>"),
    )
}
"""By name: most models, Mistral's, GPT-OSS, whose whole turns `families/harmony.py` reads, and Gemma 4."""
