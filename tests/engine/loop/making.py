"""Short ways to make what engine tests need."""

import time
from typing import Any

import torch

from beamhouse.engine.link.messages import Submission, Tokens
from beamhouse.engine.state.request import Request, Sequence
from beamhouse.schemas.generation.config import GenerationConfig


def make_request(prompt_ids: list[int], name: str = "r", eos: tuple[int, ...] = (), **fields: Any) -> Request:
    """A request as the engine makes it. Keywords that a `Submission` knows go there, the rest to the configuration."""
    outside = {key: fields.pop(key) for key in list(fields) if key in Submission.__struct_fields__}
    config = GenerationConfig(**{"max_length": len(prompt_ids) + 8, **fields})
    return Request(
        submission=Submission(name, prompt_ids, config.to_diff_dict(), **outside),
        config=config,
        mode=config.get_generation_mode(),
        eos_token_ids=eos,
        generator=torch.Generator(),
        sequences=[Sequence(list(prompt_ids), num_prompt=len(prompt_ids))],
        outputs=[Tokens(index) for index in range(config.num_return_sequences or 1)],
        width=config.num_return_sequences or 1,
        arrived_at=time.monotonic(),
    )
