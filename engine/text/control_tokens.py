"""Text of a conversation that spells a control token stays text; the control tokens of the template stay tokens."""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from tokenizers import AddedToken, Tokenizer

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.problems import MAX_SHOWN
from beamhouse.schemas.words import ProblemCode

START, END = "\U000f0000", "\U000f0001"
HIDDEN_START, HIDDEN_END = "\U000f0002", "\U000f0003"
MARKERS = f"{START}{END}{HIDDEN_START}{HIDDEN_END}"
"""Private-use characters around what is to be read as text: a control token, or what is normalized to one.
Conversations lose them before. A template that splits a text at a token leaves a marker without its partner."""


ROLES = ("assistant", "developer", "function", "model", "system", "tool", "user")
"""Words that a template may put into a frame of its own, as `'<|' + message.role + '|>'`."""


class ControlTokens:
    """Marks the control tokens in what people wrote, and encodes what a template made of the marked text.

    Equals `apply_chat_template(..., sanitize_control_tokens=True)` of the library, and goes further: tokens that a
    template builds around a role count, and any other role that would complete a token is refused; what the
    tokenizer's normalizer turns into a control token is marked as well; and where plain text would give the token's id
    all the same (the library raises), it is spelled one character at a time.
    """

    def __init__(
        self, tokenizer: Tokenizer, template_text: str, unk_token: str | None, listed: Collection[str] | None = None
    ) -> None:
        """template_text: literal strings of the template. listed: control tokens beside the special ones; None: those
        added tokens that the template writes."""
        self._tokenizer, self._template_text = tokenizer, template_text
        added = tokenizer.get_added_tokens_decoder()
        self._added = [token.content for token in added.values()]
        self._ids = {
            token_id for token_id, token in added.items() if token.special or _is_control(token, template_text, listed)
        }
        tokens = [added[token_id] for token_id in self._ids]
        # Whatever the model cannot write becomes its unknown token; that one says nothing.
        unknown = (unk_token, getattr(tokenizer.model, "unk_token", None))
        self._never = self._ids - {tokenizer.token_to_id(token) for token in unknown if token is not None}
        spelled = _any_of([token.content for token in tokens])
        self._spelled = re.compile(spelled)
        self._marked = re.compile(f"{START}({spelled}){END}|{HIDDEN_START}([^{MARKERS}]+){HIDDEN_END}|[{MARKERS}]")
        self._hides = tokenizer.normalizer is not None and any(token.normalized for token in tokens)

    def mark(self, value: Any) -> Any:  # Any: JSON, or a message of a conversation
        """The value with every control token in its strings between markers.

        Keys of objects are strings too, but those that are names stay as they are: a template looks values up by them.
        """
        if isinstance(value, str):
            return self._marked_text(value.translate(dict.fromkeys(map(ord, MARKERS))))
        if isinstance(value, dict):
            return {key if key.isidentifier() else self.mark(key): self.mark(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.mark(item) for item in value]
        return value

    def check_role(self, role: str) -> None:
        """Raises InvalidRequest for a role that the template would make a token of that it does not write by itself."""
        if role in ROLES or role in self._template_text.split("\0"):
            return
        made = next((token for token in self._added if _is_built(token, role, self._template_text)), None)
        if made is not None:
            message = f"the chat template would make the control token {made} of the role {role[:MAX_SHOWN]!r}"
            raise invalid("messages", ProblemCode.CONTROL_TOKEN, message)

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        """The ids of a text with markers. A marker that a template tore from its partner still parts the text."""
        pieces = list(self._pieces(text))
        if len(pieces) == 1:
            return self._encode([text], add_special_tokens)[0]
        between = self._inside({piece for piece, is_marked in pieces[1:] if not is_marked})
        as_text = {token: self._as_text(token) for token in {piece for piece, is_marked in pieces if is_marked}}
        ids = self._encode([pieces[0][0]], False)[0]
        for piece, is_marked in pieces[1:]:
            ids += as_text[piece] if is_marked else between[piece]
        return self._surrounded(ids) if add_special_tokens else ids

    def _pieces(self, text: str) -> Iterator[tuple[str, bool]]:
        """The parts of a text and whether each was marked; the first never was, and may be empty."""
        at = 0
        for found in self._marked.finditer(text):
            if at == 0 or at < found.start():
                yield text[at : found.start()], False
            if token := found[1] or found[2]:
                yield token, True
            at = found.end()
        if at == 0 or at < len(text):
            yield text[at:], False

    def _encode(self, texts: list[str], add_special_tokens: bool) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=add_special_tokens)
        return [encoding.ids for encoding in encodings]

    def _inside(self, pieces: Iterable[str]) -> dict[str, list[int]]:
        """The ids of pieces from the middle of a text: behind a line break, so that no space is put before them."""
        line_break, in_order = self._encode(["\n"], False)[0], list(pieces)
        behind = self._encode([f"\n{piece}" for piece in in_order], False)
        found = {
            piece: ids[len(line_break) :]
            for piece, ids in zip(in_order, behind, strict=True)
            if ids[: len(line_break)] == line_break
        }
        others = [piece for piece in in_order if piece not in found]
        return found | dict(zip(others, self._encode(others, False), strict=True))

    def _as_text(self, token: str) -> list[int]:
        line_break = self._encode(["\n"], False)[0]
        ids = self._plain(f"\n{token}")
        ids = ids[len(line_break) :] if ids[: len(line_break)] == line_break else self._plain(token)
        if self._never.isdisjoint(ids):
            return ids
        if len(token) == 1:
            message = f"messages hold {token!r}, which this model's tokenizer knows as a control token alone"
            raise invalid("messages", ProblemCode.CONTROL_TOKEN, message)
        return [token_id for character in token for token_id in self._as_text(character)]

    def _plain(self, text: str) -> list[int]:
        """The ids without any added token: not even those that are no special ones."""
        tokenizer = self._tokenizer
        if tokenizer.normalizer is not None:
            text = tokenizer.normalizer.normalize_str(text)
        words = [text]
        if tokenizer.pre_tokenizer is not None:
            words = [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
        return [token.id for word in words for token in tokenizer.model.tokenize(word)]

    def _marked_text(self, text: str) -> str:
        """Marks what spells a control token, and between that what is normalized to one, as capitals may be."""
        parts, at = [], 0
        for found in self._spelled.finditer(text):
            parts += [self._with_hidden(text[at : found.start()]), START, found[0], END]
            at = found.end()
        return "".join([*parts, self._with_hidden(text[at:])])

    def _with_hidden(self, text: str) -> str:
        if not self._hides or not text:
            return text
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        spans = [span for token_id, span in zip(encoding.ids, encoding.offsets, strict=True) if token_id in self._ids]
        for start, end in reversed(spans):
            text = f"{text[:start]}{HIDDEN_START}{text[start:end]}{HIDDEN_END}{text[end:]}"
        return text

    def _surrounded(self, ids: list[int]) -> list[int]:
        """The ids between what the tokenizer puts around a text."""
        around = self._tokenizer.encode("a", add_special_tokens=True)
        own = [place for place, is_added in enumerate(around.special_tokens_mask) if not is_added]
        if not own:
            return around.ids + ids
        return around.ids[: own[0]] + ids + around.ids[own[-1] + 1 :]


def _is_control(token: AddedToken, template_text: str, listed: Collection[str] | None) -> bool:
    if listed is not None:
        return token.content in listed
    # White space that is a token, as Gemma's line break, stands in templates as ordinary text.
    is_written = token.content in template_text and not token.content.isspace()
    return is_written or any(_is_built(token.content, role, template_text) for role in ROLES)


def _is_built(token: str, role: str, template_text: str) -> bool:
    """Whether the token is a role between texts that the template writes, at least one of them not empty."""
    places = [found.start() for found in re.finditer(re.escape(role), token)] if role != token else []
    return any(token[:at] in template_text and token[at + len(role) :] in template_text for at in places)


def _any_of(texts: list[str]) -> str:
    """A pattern of all texts, longer ones first; without any it never matches."""
    return "|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True)) or "(?!)"
