"""Decoder stages: what the decoders of a `tokenizer.json` do, for tokens that arrive one by one.

`tokenizers` decodes a whole list at once, and later tokens may change what earlier ones gave: bytes of a character that
never ends, a space that goes when the word was the last. Each stage here holds back exactly what later tokens can still
change, so that the pieces of a stream, joined, are the decoded whole, at a constant cost per token.
"""

import codecs
import re
from collections.abc import Callable, Iterable
from typing import Protocol

CLEAN_UP = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"),
    (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip
"""What `clean_up_tokenization_spaces` replaces, in order. Equals `clean_up_tokenization` of the library."""

WORD_PIECE_CLEAN_UP = (*CLEAN_UP[:7], (" do not", " don't"), *CLEAN_UP[7:])
"""What the WordPiece and CTC decoders replace inside each token."""

BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f+][0-9A-Fa-f])>")


class DecodingStage(Protocol):
    """One decoder at work on one stream."""

    def push(self, pieces: list[str]) -> list[str]:
        """What became final with these pieces."""

    def finish(self) -> list[str]:
        """What was held back, once nothing follows."""

    def inside(self, piece: str) -> str:
        """What a piece gives in the middle of a text; bytes that are no text are surrogate-escaped."""


def replaced(text: str, pairs: Iterable[tuple[str, str]]) -> str:
    for old, new in pairs:
        text = text.replace(old, new)
    return text


def _byte_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in byte-level vocabularies, as GPT-2 chose them."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


BYTE_OF = _byte_alphabet()


def byte_level(token: str) -> bytes:
    """The bytes of a byte-level token; a token with any other character stands for itself."""
    try:
        return bytes([BYTE_OF[character] for character in token])
    except KeyError:
        return token.encode()


class EachToken:
    """Decoders that look at one token at a time, and at most treat the first one differently."""

    def __init__(self, first: Callable[[str], str], rest: Callable[[str], str]) -> None:
        self.first = first
        self.rest = rest
        self._next = first

    @property
    def is_first_other(self) -> bool:
        return self.first is not self.rest

    def push(self, pieces: list[str]) -> list[str]:
        decoded = []
        for piece in pieces:
            decoded.append(self._next(piece))
            self._next = self.rest
        return decoded

    def finish(self) -> list[str]:
        return []

    def inside(self, piece: str) -> str:
        return self.rest(piece)


class ByteLevel:
    """Tokens are bytes; those that form no UTF-8 become U+FFFD, as soon as that is certain."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, pieces: list[str]) -> list[str]:
        return [self._utf8.decode(byte_level(piece)) for piece in pieces]

    def finish(self) -> list[str]:
        return [self._utf8.decode(b"", final=True)]

    def inside(self, piece: str) -> str:
        return byte_level(piece).decode("utf-8", "surrogateescape")


class ByteFallback:
    """A run of tokens such as `<0x0A>` is one text, or one U+FFFD per byte if any part of the run is no UTF-8."""

    def __init__(self) -> None:
        self._run = bytearray()

    def push(self, pieces: list[str]) -> list[str]:
        decoded = []
        for piece in pieces:
            if match := BYTE_TOKEN.fullmatch(piece):
                self._run.append(int(match[1], 16))
            else:
                decoded += [*self.finish(), piece]
        return decoded

    def finish(self) -> list[str]:
        run, self._run = bytes(self._run), bytearray()
        try:
            return [run.decode()] if run else []
        except UnicodeDecodeError:
            return ["\ufffd"] * len(run)

    def inside(self, piece: str) -> str:
        match = BYTE_TOKEN.fullmatch(piece)
        return bytes([int(match[1], 16)]).decode("utf-8", "surrogateescape") if match else piece


class EndOfWord:
    """The suffix that ends a word is a space, except at the end of the text."""

    def __init__(self, suffix: str) -> None:
        self.suffix = suffix
        self._newest: list[str] = []

    def push(self, pieces: list[str]) -> list[str]:
        pieces = self._newest + pieces
        self._newest = pieces[-1:]
        return [self.inside(piece) for piece in pieces[:-1]]

    def finish(self) -> list[str]:
        return [piece.replace(self.suffix, "") for piece in self._newest]

    def inside(self, piece: str) -> str:
        return piece.replace(self.suffix, " ")


class Ctc:
    """Repeated tokens count once, padding not at all."""

    def __init__(self, pad_token: str, word_delimiter: str, cleanup: bool) -> None:
        self._pad_token = pad_token
        self._word_delimiter = word_delimiter
        self._cleanup = cleanup
        self._previous: str | None = None

    def push(self, pieces: list[str]) -> list[str]:
        decoded = []
        for piece in pieces:
            if piece != self._previous:
                decoded.append(self.inside(piece))
            self._previous = piece
        return [piece for piece in decoded if piece]

    def finish(self) -> list[str]:
        return []

    def inside(self, piece: str) -> str:
        piece = piece.replace(self._pad_token, "")
        if self._cleanup:
            piece = replaced(piece, WORD_PIECE_CLEAN_UP).replace(self._word_delimiter, " ")
        return piece


class ReplaceInText:
    """Replaces in the running text; holds back an end that may be the beginning of a match."""

    def __init__(self, old: str, new: str) -> None:
        self._old = old
        self._new = new
        self._held = ""

    def push(self, pieces: list[str]) -> list[str]:
        *before, rest = (self._held + "".join(pieces)).split(self._old)
        num_held = next(n for n in range(min(len(self._old) - 1, len(rest)), -1, -1) if rest.endswith(self._old[:n]))
        self._held = rest[len(rest) - num_held :]
        return ["".join(part + self._new for part in before), rest[: len(rest) - num_held]]

    def finish(self) -> list[str]:
        return [self._held]

    def inside(self, piece: str) -> str:
        return piece.replace(self._old, self._new)


class StripText:
    """Drops up to `start` leading and `stop` trailing characters of the running text, if they are `content`."""

    def __init__(self, content: str, start: int, stop: int) -> None:
        self.content = content
        self.start = start
        self.stop = stop
        self._held = ""

    def push(self, pieces: list[str]) -> list[str]:
        text = "".join(pieces)
        while self.start and text:
            is_content = text[0] == self.content
            self.start = self.start - 1 if is_content else 0
            text = text[1:] if is_content else text
        text = self._held + text
        num_held = min(self.stop, len(text) - len(text.rstrip(self.content)))
        self._held = text[len(text) - num_held :]
        return [text[: len(text) - num_held]]

    def finish(self) -> list[str]:
        return []

    def inside(self, piece: str) -> str:
        return piece
