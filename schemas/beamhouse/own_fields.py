"""Our own fields in the body of another protocol, which can ask with them for all that `POST /generate` can do."""

from typing import Annotated

from pydantic import Field

from beamhouse.schemas.beamhouse.generate import Beside
from beamhouse.schemas.generation.bounds import MAX_INT
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.fields import GenerationFields

ClientName = Annotated[str, Field(max_length=512)]


class OwnFields(Beside, GenerationFields):
    """How to continue a prompt.

    Every field of `generate()` may stand in the body by its own name, or in `generation_config`; where the protocol
    means something else by a name, its meaning holds in the body.
    """

    model: ClientName | None = None
    """The served model, whatever stands here, unless the server is strict about it."""
    generation_config: GenerationConfig | None = None
    """Fields of `generate()`, as an object or as its JSON text; the same field in the body must not differ."""
    stream: bool | None = None
    """Answer in pieces, as server-sent events."""
    temperature: Annotated[float, Field(ge=0, le=1e6)] | None = None
    """Divides the scores before a token is drawn; 0 draws none: the likeliest one is taken. Not set: 1."""
    top_k: Annotated[int, Field(ge=-1, le=MAX_INT)] | None = None
    """Sampling keeps the k best tokens, 0 and -1 are off; in contrastive search the number of candidates."""
