"""How texts are shown: with special tokens or without, with the stop string that ended one or up to it."""

from collections.abc import Sequence

from beamhouse.engine.link.messages import FinishReason
from beamhouse.engine.text.stop_strings import TextBeforeStop
from beamhouse.engine.text.text_stream import TextStream
from beamhouse.engine.text.tokenizer import Text
from beamhouse.server.asking.translate import AcceptedRequest

ShownText = TextStream | TextBeforeStop


def open_text(accepted: AcceptedRequest, text: Text, place: int) -> ShownText:
    """The text of a sequence while it grows. place: of its submission."""
    stop, skips_special = accepted.config.stop_strings, skips_special_tokens(accepted)
    if stop is None or accepted.outputs.include_stop_string is not False:
        return text.stream(skips_special)
    stop_strings = [stop] if isinstance(stop, str) else stop
    return text.stream_before(stop_strings, accepted.submissions[place].prompt_ids, skips_special)


def rest_of(shown: ShownText, reason: FinishReason) -> str:
    """What was held back, now that the sequence has ended."""
    return shown.finish(reason.stop_string) if isinstance(shown, TextBeforeStop) else shown.finish()


def live_text(accepted: AcceptedRequest, text: Text, place: int, token_ids: Sequence[int]) -> str:
    """The text of a hypothesis that has not ended."""
    shown = open_text(accepted, text, place)
    if isinstance(shown, TextBeforeStop):
        return shown.push(token_ids)
    return text.decode([*token_ids], skips_special_tokens(accepted))


def skips_special_tokens(accepted: AcceptedRequest) -> bool:
    return accepted.outputs.skip_special_tokens is not False
