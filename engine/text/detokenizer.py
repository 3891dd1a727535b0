"""Builds the stages of a stream from the `decoder` of a `tokenizer.json`."""

import json
from collections.abc import Callable
from typing import Any

from tokenizers import Regex, Tokenizer, decoders

from beamhouse.engine.text.detokenizer_stages import (
    CLEAN_UP,
    WORD_PIECE_CLEAN_UP,
    ByteFallback,
    ByteLevel,
    Ctc,
    DecodingStage,
    EachToken,
    EndOfWord,
    ReplaceInText,
    StripText,
    replaced,
)


class WholeText:
    """Decoders whose result any later token may change: everything waits for the end, and is decoded there."""

    def __init__(self, parts: list[dict[str, Any]], is_fused: bool) -> None:
        self._decoder = _library_decoder(parts)
        self._is_fused = is_fused
        self._pieces: list[str] = []

    def push(self, pieces: list[str]) -> list[str]:
        self._pieces += pieces
        return []

    def finish(self) -> list[str]:
        return [self._decoder.decode(["".join(self._pieces)] if self._is_fused else self._pieces)]

    def inside(self, piece: str) -> str:
        if any("\udc80" <= character <= "\udcff" for character in piece):
            return piece
        base = [] if self._is_fused else ["a"]
        return self._decoder.decode([*base, piece]).removeprefix(self._decoder.decode(base))


def _library_decoder(parts: list[dict[str, Any]]) -> decoders.Decoder:
    model = {"type": "BPE", "vocab": {}, "merges": []}
    decoder: decoders.Decoder | None = Tokenizer.from_str(
        json.dumps({"model": model, "decoder": {"type": "Sequence", "decoders": parts}})
    ).decoder
    assert decoder is not None
    return decoder


def _strip(content: str, start: int, stop: int) -> Callable[[str], str]:
    def strip(token: str) -> str:
        stage = StripText(content, start, stop)
        return "".join(stage.push([token]) + stage.finish())

    return strip


def _word_piece(part: dict[str, Any]) -> DecodingStage:
    pairs = WORD_PIECE_CLEAN_UP if part["cleanup"] else ()
    prefix: str = part["prefix"]

    def rest(token: str) -> str:
        return replaced(token.removeprefix(prefix) if token.startswith(prefix) else f" {token}", pairs)

    return EachToken(lambda token: replaced(token, pairs), rest)


def _metaspace(part: dict[str, Any]) -> DecodingStage:
    mark: str = part["replacement"]
    first = " " if part["prepend_scheme"] == "never" else ""
    return EachToken(lambda token: token.replace(mark, first), lambda token: token.replace(mark, " "))


def _replace(part: dict[str, Any]) -> DecodingStage | None:
    new: str = part["content"]
    old: str | None = part["pattern"].get("String")
    if old == "":
        return None
    if old is None:
        pattern = decoders.Replace(Regex(part["pattern"]["Regex"]), new)
        return _alike(lambda token: pattern.decode([token]))
    return _alike(lambda token: token.replace(old, new))


def _alike(change: Callable[[str], str]) -> DecodingStage:
    return EachToken(change, change)


def _on_tokens(part: dict[str, Any]) -> DecodingStage | None:
    match part["type"]:
        case "ByteLevel":
            return ByteLevel()
        case "ByteFallback":
            return ByteFallback()
        case "Metaspace":
            return _metaspace(part)
        case "WordPiece":
            return _word_piece(part)
        case "Replace":
            return _replace(part)
        case "Strip":
            return _alike(_strip(part["content"], part["start"], part["stop"]))
        case "BPEDecoder":
            return EndOfWord(part["suffix"])
        case "CTC":
            return Ctc(part["pad_token"], part["word_delimiter_token"], part["cleanup"])
    return None


def _on_text(part: dict[str, Any]) -> DecodingStage | None:
    match part:
        case {"type": "Replace", "pattern": {"String": str(old)}, "content": str(new)} if old:
            return ReplaceInText(old, new)
        case {"type": "Strip", "content": str(content), "start": int(start), "stop": int(stop)}:
            return StripText(content, start, stop)
    return None


def flat(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The decoders of a sequence, in order."""
    if spec["type"] != "Sequence":
        return [spec]
    return [part for inner in spec["decoders"] for part in flat(inner)]


def build_stages(spec: dict[str, Any] | None, clean_up: bool) -> list[DecodingStage]:
    """Fresh stages for one stream. spec: `decoder` of the tokenizer file; None joins the tokens with spaces."""
    stages: list[DecodingStage] = []
    if spec is None:
        stages.append(EachToken(str, lambda token: f" {token}"))
    is_fused = False
    parts = flat(spec) if spec else []
    for position, part in enumerate(parts):
        if part["type"] == "Fuse":
            is_fused = True
            continue
        stage = _on_text(part) if is_fused else _on_tokens(part)
        if stage is None:
            stages.append(WholeText(parts[position:], is_fused))
            break
        stages.append(stage)
        is_fused = is_fused or part["type"] == "ByteLevel"
    if clean_up:
        stages += [ReplaceInText(old, new) for old, new in CLEAN_UP]
    return stages
