"""The order of the logits processors, written once, and who of them acts on which row."""

from collections.abc import Container, Iterable
from collections.abc import Sequence as Seq

import torch
from torch import Tensor

from beamhouse.engine.link.errors import InvalidRequest, invalid
from beamhouse.engine.logits.constraints.allowed import AllowedTokens, DeadEnds
from beamhouse.engine.logits.constraints.constraint import Constraints
from beamhouse.engine.logits.processor import Processor
from beamhouse.engine.logits.processors.bans import BeginSuppressTokens, SuppressTokens
from beamhouse.engine.logits.processors.bias import BadWords, SequenceBias
from beamhouse.engine.logits.processors.cutoffs import EpsilonCutoff, EtaCutoff, TopH, TypicalP
from beamhouse.engine.logits.processors.diversity import HammingDiversity
from beamhouse.engine.logits.processors.finite import RemoveInvalidValues, RenormalizeLogits
from beamhouse.engine.logits.processors.forcing import ForcedBos, ForcedEos
from beamhouse.engine.logits.processors.greenlist import GreenListWatermark
from beamhouse.engine.logits.processors.guidance import Guidance
from beamhouse.engine.logits.processors.length import ExponentialDecay, MinLength, MinNewTokens
from beamhouse.engine.logits.processors.ngrams import EncoderNoRepeatNgram, NoRepeatNgram
from beamhouse.engine.logits.processors.penalties import EncoderRepetitionPenalty, OccurrencePenalty, RepetitionPenalty
from beamhouse.engine.logits.processors.synthid import SynthIDWatermark
from beamhouse.engine.logits.processors.warpers import MinP, Temperature, TopK, TopP
from beamhouse.engine.logits.registered.named import Registered
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.logits.rows import Rows
from beamhouse.engine.native.library import Kernels
from beamhouse.engine.state.memory import Slot
from beamhouse.engine.state.request import Request, Row
from beamhouse.engine.watermark.profiles import Profiles
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.words import ProblemCode

APPLYING = Slot[tuple[int, ...]]("processors")
"""The numbers of those that a request asks for."""


def in_order(
    registry: Registry, constraints: Constraints, watermarks: Iterable[Processor], kernels: Kernels | None = None
) -> tuple[Processor, ...]:
    """All processors as transformers 5.23 applies them; behind them what no processor may undo.

    The penalties that it lacks stand behind those on repetition: only bans, and what is forced, may undo them.
    """
    return (
        Guidance(),
        SequenceBias(),
        HammingDiversity(),
        EncoderRepetitionPenalty(),
        RepetitionPenalty(),
        OccurrencePenalty(),
        NoRepeatNgram(),
        EncoderNoRepeatNgram(),
        BadWords(),
        MinLength(),
        MinNewTokens(),
        AllowedTokens(constraints),
        ForcedBos(),
        ForcedEos(),
        RemoveInvalidValues(),
        ExponentialDecay(),
        SuppressTokens(),
        BeginSuppressTokens(),
        Registered(registry),
        Temperature(),
        TopH(),
        TopK(kernels),
        TopP(kernels),
        MinP(),
        TypicalP(kernels),
        EpsilonCutoff(),
        EtaCutoff(),
        *watermarks,
        RenormalizeLogits(),
        DeadEnds(),
    )


def watermarks_of(
    vocab_size: int, device: torch.device, profiles: Profiles, kernels: Kernels | None = None
) -> tuple[Processor, ...]:
    """Both kinds; a request has one of them at most."""
    return GreenListWatermark(vocab_size, profiles, kernels), SynthIDWatermark(vocab_size, device, profiles)


FIELDS = frozenset[str]().union(
    *(
        processor.reads
        for processor in in_order(Registry({}, {}), Constraints(0, {}, None), watermarks_of(0, torch.device("cpu"), {}))
    )
)
"""The GenerationConfig fields the processors obey."""


class Pipeline:
    """Turns the logits of any rows into their scores.

    constraints: compiles `prefix_allowed_tokens`; by default without named tries and grammars. profiles: the named
    watermarks. kernels: where they are given and serve, they give the results of torch's operations in less time.
    """

    def __init__(
        self,
        vocab_size: int,
        registry: Registry,
        device: torch.device,
        constraints: Constraints | None = None,
        profiles: Profiles | None = None,
        kernels: Kernels | None = None,
    ) -> None:
        self.vocab_size = vocab_size
        self.device = device
        self.registry, self.kernels = registry, kernels
        self.constraints = constraints or Constraints(vocab_size, {}, None)
        self.processors = in_order(
            registry,
            self.constraints,
            watermarks_of(vocab_size, device, profiles or {}, kernels),
            kernels,
        )
        self._every = range(len(self.processors))
        self._shaping = self._every[next(at for at in self._every if isinstance(self.processors[at], Temperature)) :]
        self._forbidding = [at for at in self._every if not isinstance(self.processors[at], TopH | TopP | TypicalP)]

    def prepare(self, request: Request) -> None:
        """Find the processors of a request and let them build what they need. Raises InvalidRequest."""
        problems: list[Problem] = []
        applying = []
        for place, processor in enumerate(self.processors):
            if not processor.applies(request):
                continue
            applying.append(place)
            try:
                processor.prepare(request, self.vocab_size)
            except InvalidRequest as error:
                problems.extend(error.problems)
        if problems:
            raise InvalidRequest(problems)
        request.memory[APPLYING] = tuple(applying)
        self._refuse_doubles(request)

    def process(self, rows: Seq[Row], logits: Tensor) -> Tensor:
        """logits: (R, V) float32, for any rows of prepared requests; left alone. Returns (R, V).

        A request whose processors failed on the way says so in its `failure`; its scores mean nothing then. A row that
        nothing can follow is -inf. Where nothing acts, `logits` itself comes back.
        """
        return self._apply(rows, logits, self._acting(rows, self._every))

    def forbid(self, rows: Seq[Row], logits: Tensor) -> Tensor:
        """Apply all but `top_h`, `top_p` and `typical_p`, to equal logits: what becomes -inf is forbidden.

        Those three would drop some of the equally likely tokens, and which of them is arbitrary.
        """
        return self._apply(rows, logits, self._acting(rows, self._forbidding))

    def shape_again(self, rows: Seq[Row], scores: Tensor) -> Tensor:
        """Apply what shapes the distribution, the temperature and all behind it, to scores that went through `process`.

        The library does so to a draft model's scores: its own processors come on top of the main model's.
        """
        return self._apply(rows, scores, self._acting(rows, self._shaping))

    def _apply(self, rows: Seq[Row], logits: Tensor, acting: list[tuple[Processor, list[int]]]) -> Tensor:
        if not acting:
            return logits
        every = Rows(rows, self.device)
        scores = logits.clone()
        for processor, places in acting:
            if len(places) == len(rows):
                scores = processor(every, scores)
                continue
            at = torch.tensor(places, device=self.device)
            scores.index_copy_(0, at, processor(every.pick(places), scores.index_select(0, at)))
        return scores

    def _acting(self, rows: Seq[Row], asked: Container[int]) -> list[tuple[Processor, list[int]]]:
        """The processors of this step in order, each with the places of its rows. asked: the numbers of those meant."""
        meant: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            for number in row.request.memory[APPLYING]:
                meant.setdefault(number, []).append(place)
        found = []
        for number in sorted(meant):
            if number in asked:
                processor = self.processors[number]
                places = [place for place in meant[number] if processor.acts(rows[place])]
                if places:
                    found.append((processor, places))
        return found

    def _refuse_doubles(self, request: Request) -> None:
        """A registered processor of a library class whose field is set too would act twice, or in another's place."""
        doubled = {self.processors[number].equals: self.processors[number].name for number in request.memory[APPLYING]}
        for name, instance in request.memory.get(Registered.instances) or ():
            kind = type(instance)
            if kind.__module__.startswith("transformers.") and kind.__name__ in doubled:
                raise invalid(
                    "logits_processor",
                    ProblemCode.CONFLICT,
                    f"{name} does what {doubled[kind.__name__]} asks for already",
                )
