"""The decoding modes that are built."""

from engine.decoding.beam_search import BeamSample, BeamSearch
from engine.decoding.constrained_beam_search import ConstrainedBeamSearch
from engine.decoding.greedy import Greedy
from engine.decoding.group_beam_search import GroupBeamSearch
from engine.decoding.sample import Sample
from engine.decoding.strategy import Strategy
from schemas.generation import GenerationMode

STRATEGIES: dict[GenerationMode, Strategy] = {
    strategy.mode: strategy
    for strategy in (Greedy(), Sample(), BeamSearch(), BeamSample(), GroupBeamSearch(), ConstrainedBeamSearch())
}
