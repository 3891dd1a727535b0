"""The decoding modes that are built."""

from beamhouse.engine.decoding.assisted import Assistants, Assisted
from beamhouse.engine.decoding.beam_search import BeamSample, BeamSearch
from beamhouse.engine.decoding.constrained_beam_search import ConstrainedBeamSearch
from beamhouse.engine.decoding.contrastive import Contrastive
from beamhouse.engine.decoding.dola import Dola
from beamhouse.engine.decoding.greedy import Greedy
from beamhouse.engine.decoding.group_beam_search import GroupBeamSearch
from beamhouse.engine.decoding.sample import Sample
from beamhouse.engine.decoding.strategy import ModelFacts, Strategy
from beamhouse.schemas.generation.modes import GenerationMode

# These need nothing; what others need stands in `strategies`.
_PLAIN = (Greedy, Sample, BeamSearch, BeamSample, GroupBeamSearch, ConstrainedBeamSearch, Contrastive)

MODES = tuple(kind.mode for kind in (*_PLAIN, Dola, Assisted))

FIELDS = frozenset[str]().union(*(kind.reads for kind in (*_PLAIN, Dola, Assisted)))
"""The GenerationConfig fields the modes obey."""


def strategies(model: ModelFacts, assistants: Assistants) -> dict[GenerationMode, Strategy]:
    """One strategy for each mode, for an engine around one model."""
    built: tuple[Strategy, ...] = (*(kind() for kind in _PLAIN), Dola(model), Assisted(assistants))
    return {strategy.mode: strategy for strategy in built}
