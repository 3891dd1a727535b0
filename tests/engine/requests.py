"""A request as the engine makes it, in one call."""

import time
from typing import Any

import torch

from beamhouse.engine.link.messages import Submission, Tokens
from beamhouse.engine.state.request import Request, Sequence
from tests.configs import running


def make_request(prompt_ids: list[int], name: str = "r", eos: tuple[int, ...] = (), **fields: Any) -> Request:
    """A request as the engine makes it. Keywords that a `Submission` knows go there, the rest to the configuration."""
    outside = {key: fields.pop(key) for key in list(fields) if key in Submission.__struct_fields__}
    config = running({"max_length": len(prompt_ids) + 8, "eos_token_id": list(eos) or None} | fields)
    return Request(
        submission=Submission(name, prompt_ids, config, **outside),
        generator=torch.Generator(),
        sequences=[Sequence(list(prompt_ids), num_prompt=len(prompt_ids))],
        outputs=[Tokens(index) for index in range(config.num_return_sequences)],
        arrived_at=time.monotonic(),
    )
