"""What every token of a vocabulary adds to a text, as bytes, for those who match a text before its tokens are chosen.

A token may add something else at the beginning of a text (Llama 2 drops a space there), or leave behind a space that
only comes with the next token (`</w>`). So a text stands in one of a few places, in each of which every token has one
spelling and leads to one place.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from beamhouse.engine.text.detokenizer_stages import (
    CLEAN_UP,
    ByteFallback,
    ByteLevel,
    DecodingStage,
    EachToken,
    EndOfWord,
    StripText,
)

Tokenize = Callable[[str], list[int]]

_MAX_PLACES = 8
_MAX_TOKEN_BYTES = 512  # a longer token is never chosen while a text is matched: tries of longer ones have limits
_NO_TEXT = 0xFF  # a byte that no UTF-8 holds
_UTF8_BYTES = (*range(0xC0), *range(0xC2, 0xF5))
_CLEANED = tuple((old.encode(), new.encode()) for old, new in CLEAN_UP)


class NotSpelled(ValueError):
    """What a token adds depends on more of its neighbours than is followed here."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands. num_strip: leading characters that may still be dropped. owes_space: if anything follows."""

    is_first: bool = False
    num_strip: int = 0
    owes_space: bool = False


INSIDE = Place()


class Decoding:
    """Follows the stages of a decoder, token by token. Raises NotSpelled for stages that look further than that.

    clean_up: whether the text is cleaned as by `clean_up_tokenization_spaces`.
    """

    def __init__(self, stages: Sequence[DecodingStage], clean_up: bool) -> None:
        self._on_tokens = [stage for stage in stages if not isinstance(stage, StripText)]
        self._strip = next((stage for stage in stages if isinstance(stage, StripText)), StripText("", 0, 0))
        self._pairs = _CLEANED if clean_up else ()
        order = [_rank(stage) for stage in stages]
        if order != sorted(order) or any(order.count(rank) > 1 for rank in (1, 2)) or self._strip.stop:
            raise NotSpelled("its decoder has stages that look at several tokens at once")
        changes_first = [stage for stage in self._on_tokens if isinstance(stage, EachToken) and stage.is_first_other]
        self.start = Place(is_first=bool(changes_first), num_strip=self._strip.start)

    def add(self, place: Place, token: str) -> tuple[bytes, Place] | None:
        """What a token adds before it is cleaned, and where it leads; None where that cannot be followed."""
        piece, owes_space = token, False
        for stage in self._on_tokens:
            if isinstance(stage, EachToken) and place.is_first:
                piece = stage.first(piece)
            elif isinstance(stage, EndOfWord):
                owes_space, piece = piece.endswith(stage.suffix), piece.removesuffix(stage.suffix)
                if stage.suffix in piece:
                    return None
            else:
                piece = stage.inside(piece)
        strip = StripText(self._strip.content, place.num_strip, 0)
        text = "".join(strip.push([f" {piece}" if place.owes_space else piece]))
        return text.encode("utf-8", "surrogateescape"), Place(False, strip.start, owes_space)

    def clean(self, text: bytes) -> bytes | None:
        """What is left of a text that is cleaned; None where cleaning it again would change it again."""
        for old, new in self._pairs:
            text = text.replace(old, new)
        return None if any(old in text for old, _ in self._pairs) else text

    def ties(self) -> dict[bytes, tuple[bytes, ...]]:
        """By an end of the text so far, the beginnings of a token that would be cleaned together with it."""
        found: dict[bytes, tuple[bytes, ...]] = {}
        for old, _ in self._pairs:
            for cut in range(1, len(old)):
                found[old[:cut]] = (*found.get(old[:cut], ()), old[cut:])
        return found


def _rank(stage: DecodingStage) -> int:
    """The stages that can be followed, in the only order in which they can: one by one, bytes or words, the text."""
    match stage:
        case EachToken():
            return 0
        case ByteLevel() | ByteFallback() | EndOfWord():
            return 1
        case StripText():
            return 2
    raise NotSpelled(f"its decoder has a stage that looks at several tokens at once ({type(stage).__name__})")


@dataclass(frozen=True, slots=True)
class Table:
    """All tokens in one place, by id.

    spellings: the number of each token's spelling. next: the number of the place it leads to. silent: whether it adds
    nothing, but leads to another place. owing: those that leave a space behind, with the number of the spelling that
    holds it. tied: by the end of the text so far, whether a token may not follow it.
    """

    spellings: list[int]
    next: list[int]
    silent: list[bool]
    owing: dict[int, int]
    tied: dict[bytes, list[bool]]


@dataclass(frozen=True, slots=True)
class Spelling:
    """Every spelling once, by number, and a table for each place. start: the place where a text begins.

    texts: what a token adds inside a text has the token's own number, as has the name of a special one. end: stands for
    the end of the text. never: stands for what is never allowed, ids without a token and tokens that add nothing.
    special_ids: tokens that are no text. tokenize: the tokenizer's own ids of a text.
    """

    texts: list[bytes]
    special_ids: list[int]
    tables: list[Table]
    start: int
    end: int
    never: int
    tokenize: Tokenize

    @property
    def is_complete(self) -> bool:
        """Whether the tokens can go on with any text at any place, byte by byte if need be."""
        own = {self.texts[number] for number in self.tables[0].spellings}
        is_plain = not any(table.owing or table.tied for table in self.tables)
        return is_plain and all(bytes([byte]) in own for byte in _UTF8_BYTES)


def spell_out(
    tokens: Sequence[str | None], special: Mapping[int, str], decoding: Decoding, tokenize: Tokenize
) -> Spelling:
    """tokens: by id, None where an id has no token or a special one. special: the names of those. Raises NotSpelled."""
    size = len(tokens)
    book = _Book([b""] * (size + 2), never=size + 1)
    places = {INSIDE: 0}
    start = places.setdefault(decoding.start, len(places))
    tables: list[Table] = []
    while len(tables) < len(places):
        if len(places) > _MAX_PLACES:
            raise NotSpelled("its decoder drops many characters at the beginning of a text")
        tables.append(_table(tokens, list(places)[len(tables)], decoding, book, places))
    for token_id, name in special.items():
        book.texts[token_id] = name.encode("utf-8", "replace")
        for table in tables:
            table.spellings[token_id] = token_id
    return Spelling(book.texts, list(special), tables, start, size, size + 1, tokenize)


@dataclass(slots=True)
class _Book:
    """The spellings so far. A text that several tokens spell has the number of the first."""

    texts: list[bytes]
    never: int
    numbers: dict[bytes, int] = field(default_factory=dict)

    def number(self, text: bytes, token_id: int | None = None) -> int:
        """token_id: whose number a new spelling takes."""
        if not text or _NO_TEXT in text or len(text) > _MAX_TOKEN_BYTES:
            return self.never
        known = self.numbers.get(text)
        if known is None:
            known = len(self.texts) if token_id is None else token_id
            if token_id is None:
                self.texts.append(text)
            else:
                self.texts[known] = text
            self.numbers[text] = known
        return known


def _table(
    tokens: Sequence[str | None], place: Place, decoding: Decoding, book: _Book, places: dict[Place, int]
) -> Table:
    """What each token adds in `place`. New places are added to `places`, new spellings to `book`."""
    size, ties = len(tokens), decoding.ties()
    table = Table(
        [book.never] * size, [places[place]] * size, [False] * size, {}, {tail: [False] * size for tail in ties}
    )
    for token_id, token in enumerate(tokens):
        added = None if token is None else decoding.add(place, token)
        text = None if added is None else decoding.clean(added[0])
        if added is None or text is None:
            continue
        raw, after = added
        table.next[token_id] = places.setdefault(after, len(places))
        table.spellings[token_id] = book.number(text, token_id if place == INSIDE else None)
        table.silent[token_id] = not text and after != place and not after.owes_space
        if after.owes_space:
            table.owing[token_id] = book.number(text + b" ")
        for tail, beginnings in ties.items():
            table.tied[tail][token_id] = raw.startswith(beginnings) or text.startswith(beginnings)
    return table
