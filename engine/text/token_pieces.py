"""Which token of a finished text stands for which part of it."""

import codecs
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from beamhouse.engine.text.detokenizer_stages import BYTE_TOKEN, ByteFallback, DecodingStage, EndOfWord


def pieces_of(tokens: Sequence[str | None], new_stages: Callable[[], Iterable[DecodingStage]]) -> list[str]:
    """A piece for each token, None standing for one that is not shown; joined they are the decoded text.

    new_stages: builds the stages of a decoder. What they hold back while a stream goes on is known here to the end, so
    that it goes to the token it belongs to, except where a stage looks at the text as a whole.
    """
    shown = [token for token in tokens if token is not None]
    whole, pieces = [*shown], shown
    for stage in new_stages():
        whole = stage.push(whole) + stage.finish()
    for stage in new_stages():
        pieces = _known_to_the_end(stage, pieces)
    if "".join(pieces) != "".join(whole):  # stages that see the borders of tokens behind one that moved them
        pieces = _as_they_come(list(new_stages()), shown)
    in_order = iter(pieces)
    return ["" if token is None else next(in_order) for token in tokens]


def text_offsets(pieces: Iterable[str], start: int = 0) -> list[int]:
    """Where each piece begins, in characters; the first of them at `start`."""
    return list(accumulate(map(len, pieces), initial=start))[:-1]


def _known_to_the_end(stage: DecodingStage, pieces: list[str]) -> list[str]:
    match stage:
        case ByteFallback():
            return _byte_fallback(pieces)
        case EndOfWord():
            return [*map(stage.inside, pieces[:-1]), *(piece.replace(stage.suffix, "") for piece in pieces[-1:])]
    return _as_they_come([stage], pieces)


def _as_they_come(stages: Sequence[DecodingStage], pieces: list[str]) -> list[str]:
    """What became final with each piece, the last one with all that was held back."""
    found = []
    for piece in pieces:
        passed = [piece]
        for stage in stages:
            passed = stage.push(passed)
        found.append("".join(passed))
    rest: list[str] = []
    for stage in stages:
        rest = stage.push(rest) + stage.finish()
    return [*found[:-1], *("".join([last, *rest]) for last in found[-1:])]


def _byte_fallback(pieces: list[str]) -> list[str]:
    found: list[str] = []
    run: list[int] = []
    for piece in [*pieces, ""]:
        if match := BYTE_TOKEN.fullmatch(piece):
            run.append(int(match[1], 16))
        else:
            found += [*_characters(bytes(run)), piece]
            run = []
    return found[:-1]


def _characters(run: bytes) -> list[str]:
    """A piece for each byte: a character with its last one, or U+FFFD for each if they are no UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        return [decoder.decode(bytes([byte]), final=place == len(run) - 1) for place, byte in enumerate(run)]
    except UnicodeDecodeError:
        return ["\ufffd"] * len(run)
