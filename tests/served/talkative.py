"""A logits processor that says a lot, in every way there is."""

import logging
import os
import sys
import warnings
from typing import Any

import torch
from tqdm import tqdm


class Talkative:
    """Changes nothing."""

    def __init__(self, **args: Any) -> None:
        print("printed")
        print("printed where errors go", file=sys.stderr)
        os.write(2, b"written by compiled code\n\n")
        warnings.warn("warned of", stacklevel=1)
        logging.getLogger("talkative").error("logged")
        for _ in tqdm(range(3), desc="drawn"):
            pass

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores
