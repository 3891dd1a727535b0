"""Text to token ids and back, without torch or transformers: loading takes a tenth of a second."""

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

from tokenizers import Tokenizer

from beamhouse.engine.link.errors import InvalidRequest, ModelUnsupported, RequestFailed, invalid
from beamhouse.engine.text.chat import ChatTemplate, Ending
from beamhouse.engine.text.control_tokens import ControlTokens
from beamhouse.engine.text.detokenizer import build_stages
from beamhouse.engine.text.detokenizer_stages import CLEAN_UP, replaced
from beamhouse.engine.text.stop_strings import TextBeforeStop
from beamhouse.engine.text.text_stream import FaultsAs, TextStream
from beamhouse.engine.text.token_healing import Healer, Healing
from beamhouse.engine.text.token_spelling import Decoding, Spelling, spell_out
from beamhouse.schemas.model_info import TokenizerSwitches
from beamhouse.schemas.words import ProblemCode


class Text:
    """A tokenizer and its chat template. Calls may come from several threads at once."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        chat_template: str | None,
        special_tokens: dict[str, str],
        switches: TokenizerSwitches = TokenizerSwitches(),
    ) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        known = {added.content for added in tokenizer.get_added_tokens_decoder().values()}
        tokenizer.add_special_tokens([token for token in dict.fromkeys(special_tokens.values()) if token not in known])
        added_tokens = tokenizer.get_added_tokens_decoder().values()
        self._tokenizer = tokenizer
        self._special = {added.content for added in added_tokens if added.special}
        tokenizer.encode_special_tokens = switches.splits_special
        self._clean_up = switches.clean_up
        self._decoder: dict[str, Any] | None = (
            json.loads(tokenizer.decoder.__getstate__()) if tokenizer.decoder is not None else None
        )
        self._inside = build_stages(self._decoder, clean_up=False)
        self._chat = self._tool_chat = ChatTemplate(chat_template, special_tokens)
        if switches.tool_template is not None:
            self._tool_chat = ChatTemplate(switches.tool_template, special_tokens)
        literals = "\0".join({self._chat.literals: None, self._tool_chat.literals: None})
        self._control = ControlTokens(tokenizer, literals, special_tokens.get("unk_token"), switches.control_tokens)
        self._special_tokens = special_tokens
        self._bytes_asked: dict[int, bytes] = {}  # of tokens that were asked for: no more than there are

    @classmethod
    def load(
        cls,
        tokenizer_file: str,
        chat_template: str | None,
        special_tokens: dict[str, str],
        switches: TokenizerSwitches = TokenizerSwitches(),
    ) -> Self:
        """Reads a `tokenizer.json`. A file that is broken, or makes the library panic, raises ModelUnsupported.

        special_tokens: `bos_token`, `eos_token`, ... as text; those the file lacks are added, as the library does.
        """
        with FaultsAs(lambda fault: ModelUnsupported(f"{tokenizer_file} is no usable tokenizer: {fault}")):
            text = cls(Tokenizer.from_file(tokenizer_file), chat_template, special_tokens, switches)
            probe = text._tokenizer.encode_batch_fast(["A probe: 1, 2."])[0].ids
            text._tokenizer.decode(probe)
        return text

    def encode(self, texts: list[str], add_special_tokens: bool = True, field: str = "inputs") -> list[list[int]]:
        """The token ids of each text. The interpreter lock is released meanwhile.

        field: where the texts came from, named in the InvalidRequest for what is no Unicode text.
        """
        for text in texts:
            _check_unicode(text, field)
        with FaultsAs(lambda fault: invalid(field, ProblemCode.NOT_TOKENIZABLE, f"tokenizer: {fault}")):
            encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=add_special_tokens)
            return [encoding.ids for encoding in encodings]

    def spans(
        self, text: str, add_special_tokens: bool = True, field: str = "inputs"
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """The token ids of a text, and for each the characters it stands for: the first, and the one behind the last.

        What the tokenizer adds stands for none. field: as in `encode`.
        """
        _check_unicode(text, field)
        with FaultsAs(lambda fault: invalid(field, ProblemCode.NOT_TOKENIZABLE, f"tokenizer: {fault}")):
            encoding = self._tokenizer.encode_batch([text], add_special_tokens=add_special_tokens)[0]
            return encoding.ids, encoding.offsets

    def decode(self, token_ids: list[int], skip_special_tokens: bool = True) -> str:
        """The text of the tokens; ids outside the vocabulary give nothing. Equals `decode` of the library."""
        try:
            with FaultsAs(RequestFailed):
                # Only a batch is decoded without the interpreter lock, which many tokens would hold for long.
                batch = self._tokenizer.decode_batch([token_ids], skip_special_tokens=skip_special_tokens)
                text: str = batch[0]
        except RequestFailed as fault:
            if isinstance(fault.__cause__, OverflowError):
                raise _not_an_id("token ids are whole numbers from 0 to 4294967295") from fault
            raise
        return replaced(text, CLEAN_UP) if self._clean_up else text

    def stream(self, skip_special_tokens: bool = True) -> TextStream:
        """Decodes one sequence as it grows."""
        token_of = self._visible_token if skip_special_tokens else self._token
        return TextStream(token_of, build_stages(self._decoder, self._clean_up), self._bytes_of)

    def stream_before(
        self, stop_strings: Sequence[str], prompt_ids: Sequence[int], skip_special_tokens: bool = True
    ) -> TextBeforeStop:
        """The same for a sequence behind a prompt that may end with a stop string, which is not to be shown."""
        return TextBeforeStop(self.stream(skip_special_tokens), stop_strings, self.token_bytes_of, prompt_ids)

    def token_bytes(self) -> list[bytes]:
        """For every id of the vocabulary, what it adds in the middle of a text; an id without a token adds nothing.

        Special tokens stand for their text. Equals what `StopStringCriteria` of the library matches against.
        """
        return self._token_bytes

    @cached_property
    def num_ids(self) -> int:
        """One more than the largest id of a token; a model may have more rows of logits, or fewer."""
        return max(self._tokenizer.get_vocab().values(), default=-1) + 1

    @cached_property
    def special_ids(self) -> dict[str, int]:
        """The special tokens, as text, with their ids."""
        return {
            token: token_id for token in self._special if (token_id := self._tokenizer.token_to_id(token)) is not None
        }

    def spelling(self, vocab_size: int) -> Spelling:
        """What the tokens below `vocab_size` add to a text that is decoded as by `stream`. Raises NotSpelled."""
        tokens = [self._token(token_id) for token_id in range(vocab_size)]
        special = {token_id: token for token_id, token in enumerate(tokens) if token in self._special and token}
        visible = [None if token_id in special else token for token_id, token in enumerate(tokens)]
        decoding = Decoding(self._inside, self._clean_up)
        return spell_out(visible, special, decoding, lambda part: self.encode([part], add_special_tokens=False)[0])

    def is_special(self, token_id: int) -> bool:
        """Whether it is a special token, which adds nothing to a text that is decoded as by `stream`."""
        return self._token(token_id) in self._special

    def token_bytes_of(self, token_id: int) -> bytes:
        """What one token adds in the middle of a text; special tokens stand for their text, as in `token_bytes`."""
        known = self._bytes_asked.get(token_id)
        if known is None:
            token = self._token(token_id)
            known = self._bytes_of(token)
            if token is not None:
                self._bytes_asked[token_id] = known
        return known

    def token_text(self, token_id: int) -> str:
        """The same as text; bytes that are no text by themselves are U+FFFD."""
        return self.token_bytes_of(token_id).decode(errors="replace")

    def render_chat(
        self,
        messages: list[dict[str, Any]],
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        tools: list[dict[str, Any]] | None = None,
        documents: list[dict[str, Any]] | None = None,
        variables: dict[str, Any] | None = None,
    ) -> str:
        """The prompt of a conversation: `ChatTemplate.render`. Encode it without adding special tokens.

        Of messages that went through `mark_control_tokens`, `encode_marked` gives the ids.
        """
        ending: Ending = "continue" if continue_final_message else "prompt" if add_generation_prompt else "none"
        template = self._chat if tools is None else self._tool_chat
        return template.render(messages, ending, tools, documents, variables)

    def reads_variable(self, name: str) -> bool:
        """Whether the chat template looks at a variable of this name."""
        return self._chat.reads(name)

    def mark_control_tokens(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The messages with the control tokens in their text marked, so that `encode_marked` reads them as text.

        Raises InvalidRequest for a role of which the template would make a control token.
        """
        for message in messages:
            if isinstance(role := message.get("role"), str):
                self._control.check_role(role)
        marked: list[dict[str, Any]] = self.mark_texts(messages, "messages")
        return marked

    def mark_texts(self, value: Any, field: str) -> Any:  # Any: JSON
        """The same for whatever else a template is given: tools, documents, variables. Raises InvalidRequest."""
        with FaultsAs(lambda fault: invalid(field, ProblemCode.NOT_TOKENIZABLE, f"tokenizer: {fault}")):
            return self._control.mark(value)

    def encode_marked(self, prompt: str, add_special_tokens: bool = False) -> list[int]:
        """The token ids of a conversation that was marked and rendered. Raises InvalidRequest."""
        _check_unicode(prompt, "messages")
        with FaultsAs(lambda fault: invalid("messages", ProblemCode.NOT_TOKENIZABLE, f"tokenizer: {fault}")):
            return self._control.encode(prompt, add_special_tokens)

    def heal(self, prompt_ids: list[int]) -> Healing:
        """How to choose the prompt's last token anew: `Healer.heal`."""
        return self._healer.heal(prompt_ids)

    @cached_property
    def _token_bytes(self) -> list[bytes]:
        tokens = {token_id: token for token, token_id in self._tokenizer.get_vocab().items()}
        return [self._bytes_of(tokens.get(token_id)) for token_id in range(max(tokens, default=-1) + 1)]

    @cached_property
    def _healer(self) -> Healer:
        return Healer(
            vocabulary=self._tokenizer.get_vocab(),
            special_tokens=self._special_tokens,
            encode=lambda text: self.encode([text])[0],
            decode=self.decode,
        )

    def _token(self, token_id: int) -> str | None:
        try:
            return self._tokenizer.id_to_token(token_id)
        except OverflowError as fault:
            raise _not_an_id("token ids are whole numbers from 0 to 4294967295") from fault

    def _visible_token(self, token_id: int) -> str | None:
        token = self._token(token_id)
        return None if token in self._special else token

    def _bytes_of(self, token: str | None) -> bytes:
        piece = token or ""
        for stage in self._inside if piece else ():
            piece = stage.inside(piece)
        return piece.encode("utf-8", "surrogateescape")


def _not_an_id(message: str) -> InvalidRequest:
    return invalid("token_ids", ProblemCode.OUT_OF_RANGE, message)


def _check_unicode(text: str, field: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as fault:
        message = (
            f"character {fault.start} is a lone surrogate (U+{ord(text[fault.start]):04X}), which is no Unicode text"
        )
        raise invalid(field, ProblemCode.NOT_UNICODE, message) from fault
