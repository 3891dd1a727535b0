"""The text of one sequence while its tokens arrive."""

from collections.abc import Callable, Sequence
from types import TracebackType

from beamhouse.engine.link.errors import EngineError, RequestFailed
from beamhouse.engine.text.detokenizer_stages import DecodingStage


class FaultsAs:
    """Turns what `tokenizers` raises into `answer`; a panic in it is no `Exception`, and must not end the process."""

    def __init__(self, answer: Callable[[str], EngineError]) -> None:
        self._answer = answer

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if fault is None or isinstance(fault, EngineError):
            return
        if isinstance(fault, Exception) or type(fault).__module__ == "pyo3_runtime":
            raise self._answer(str(fault)[:200]) from fault


class TextStream:
    """The pieces, joined, equal `Text.decode` of all tokens.

    token_of: the name of a token, None for one that is not shown. bytes_of: what a name adds in the middle of a text.
    """

    def __init__(
        self, token_of: Callable[[int], str | None], stages: list[DecodingStage], bytes_of: Callable[[str], bytes]
    ) -> None:
        self._token_of = token_of
        self._stages = stages
        self._bytes_of = bytes_of

    def push(self, token_ids: Sequence[int]) -> str:
        """The text that became final with these tokens; it may be empty."""
        return self._push([token for token_id in token_ids if (token := self._token_of(token_id)) is not None])

    def finish(self) -> str:
        """The rest of the text. Nothing may be pushed afterwards."""
        pieces: list[str] = []
        with FaultsAs(RequestFailed):
            for stage in self._stages:
                pieces = stage.push(pieces) + stage.finish()
        return "".join(pieces)

    def finish_inside(self, token_id: int, num_bytes: int) -> str:
        """The rest of a text that ends inside a token, behind so many of the bytes that it adds."""
        token = self._token_of(token_id)
        if token is None:
            return self.finish()
        kept, dropped = self._bytes_of(token)[:num_bytes], self._bytes_of(token)[num_bytes:]
        for length in range(len(token) - 1, 0, -1):
            if self._bytes_of(token[:length]) == kept:
                return self._push([token[:length]]) + self.finish()
        # A decoder may put a space before a token that no part of its name stands for.
        whole = (self._push([token]) + self.finish()).encode()
        return whole.removesuffix(dropped).decode() if whole.endswith(dropped) else ""

    def _push(self, tokens: list[str]) -> str:
        pieces = tokens
        with FaultsAs(RequestFailed):
            for stage in self._stages:
                pieces = stage.push(pieces)
        return "".join(pieces)
