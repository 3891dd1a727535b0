"""The body of `POST /v1/completions`."""

from typing import ClassVar

from beamhouse.schemas.beamhouse.body import Inputs
from beamhouse.schemas.openai.sampling import NumTop, SamplingFields

DEFAULT_MAX_TOKENS = 16


class CompletionRequest(SamplingFields):
    """One prompt or several, and how to continue them."""

    not_supported: ClassVar[frozenset[str]] = SamplingFields.not_supported | {"suffix"}

    prompt: Inputs | None = None
    """Text, texts, token ids or lists of them. Not set: the model's `bos_token_id`."""
    echo: bool | None = None
    """Begin each choice with the prompt."""
    logprobs: NumTop | None = None
    """Log-probability of each token of a choice, and so many of the likeliest ones in its place."""
