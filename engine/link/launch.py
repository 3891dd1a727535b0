"""The first message to an engine process."""

from typing import Any

import msgspec


class Launch(msgspec.Struct, frozen=True):
    """The two parts of the settings that an engine process obeys.

    directory: private to the two processes; holds the tokenizer file. log_level: of the engine's own lines.
    """

    model: dict[str, Any]
    engine: dict[str, Any]
    directory: str
    log_level: str = "warning"


decode_launch = msgspec.msgpack.Decoder(Launch).decode
