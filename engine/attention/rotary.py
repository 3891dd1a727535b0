"""The angles of rotary positions, row for row, also where they depend on how many tokens are computed at once.

A model's own module computes them. It goes by the last position that it is shown, so rows are asked for in runs that
end where the call would that they are for.
"""

import contextlib
import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache, PreTrainedModel

from beamhouse.engine.state.batch import Feed
from beamhouse.engine.state.rope_scaling import Stretch, joined

KEPT_PROMPTS = 8
"""Lengths of prompts whose angles are kept: a prompt that is fed in parts needs them again."""
FEWEST_ROWS = 256

Tables = tuple[torch.Tensor, ...]
"""Cosines and sines, or one of complex numbers, (positions, ...) each."""


class PositionRun(NamedTuple):
    """Fed positions of one sequence, first ... end. at_once: how many, from 0 on, count as computed in one call."""

    first: int
    end: int
    at_once: int


def spans_of(feeds: Seq[Feed]) -> list[PositionRun]:
    """Where the tokens of each feed stand for the model: masked positions before a sequence count."""
    spans = []
    for feed in feeds:
        first = feed.sequence.num_masked + feed.sequence.num_cached
        spans.append(PositionRun(first, first + len(feed.token_ids), feed.sequence.num_at_once))
    return spans


class RotaryRows:
    """What a module turns positions by, in the layers of one type where it distinguishes types.

    tables: row p is of a call whose last position is p; `reach` has rows ready. keep: what is kept of the tables that
    the module gives.
    """

    def __init__(
        self,
        module: Any,  # Any: the rotary module of any architecture
        layer_type: str | None,
        example: torch.Tensor,
        keep: Callable[[Tables], Tables] = lambda tables: tables,
    ) -> None:
        self._module, self._layer_type, self._keep = module, layer_type, keep
        self._example = example.new_empty(1, 1, 1)
        self.stretch = rule_of(module, layer_type)
        self.tables: Tables = ()
        self._is_known = torch.zeros(0, dtype=torch.bool)
        self._prompts: OrderedDict[int, Tables] = OrderedDict()

    def reach(self, start: int, end: int) -> None:
        """Have rows start ... end ready."""
        if end > len(self._is_known):
            self._grow(max(end, 2 * len(self._is_known), FEWEST_ROWS))
        if self.stretch is None or self.stretch.grows_from is None or end <= self.stretch.grows_from:
            return
        for place in range(max(start, self.stretch.grows_from), end):
            if not self._is_known[place]:
                self._write(place, place + 1)

    def are_plain(self, spans: Seq[PositionRun]) -> bool:
        """Whether each position is turned as the last one of its call, so that `tables` hold them all."""
        stretch = self.stretch
        return stretch is None or not any(stretch.least_like(span.at_once) > span.first for span in spans)

    def gathered(self, spans: Seq[PositionRun]) -> Tables:
        """The rows of all positions of a step, (T, ...)."""
        pieces: list[Tables] = []
        for first, end, at_once in spans:
            least = 0 if self.stretch is None else self.stretch.least_like(at_once)
            middle = min(max(first, least), end)
            if first < middle:
                pieces.append(tuple(table[first:middle] for table in self._prompt(least)))
            if middle < end:
                self.reach(middle, end)
                pieces.append(tuple(table[middle:end] for table in self.tables))
        return tuple(torch.cat(parts) for parts in zip(*pieces, strict=True))

    def _prompt(self, num_tokens: int) -> Tables:
        """The rows of so many positions that are computed at once."""
        if num_tokens not in self._prompts:
            self._prompts[num_tokens] = self._computed(0, num_tokens)
            if len(self._prompts) > KEPT_PROMPTS:
                self._prompts.popitem(last=False)
        self._prompts.move_to_end(num_tokens)
        return self._prompts[num_tokens]

    def _grow(self, num_rows: int) -> None:
        """Make room, and fill what is quickly filled: runs that are turned alike."""
        num_known, stretch = len(self._is_known), self.stretch or Stretch()
        some = self._computed(0, 1)
        grown = tuple(table.new_empty(num_rows, *table.shape[1:]) for table in some)
        for table, old in zip(grown, self.tables, strict=False):
            table[:num_known] = old
        self.tables = grown
        self._is_known = torch.cat([self._is_known, torch.zeros(num_rows - num_known, dtype=torch.bool)])
        end = num_rows if stretch.grows_from is None else min(num_rows, stretch.grows_from)
        for run in stretch.runs(num_known, end):
            self._write(*run)

    def _write(self, start: int, end: int) -> None:
        for table, rows in zip(self.tables, self._computed(start, end), strict=True):
            table[start:end] = rows
        self._is_known[start:end] = True

    def _computed(self, start: int, end: int) -> Tables:
        """The rows of positions start ... end, of a call that ends there."""
        positions = torch.arange(start, end, device=self._example.device)[None]
        tables = _called(self._module, self._example, positions, self._layer_type)
        return self._keep(tuple(table[0] for table in tables))


class Turning:
    """Lets the rotary modules of a model know of the sequences that stand in one row.

    Outside of `during` they answer for one call, as those of a freshly loaded model.
    """

    def __init__(self, model: PreTrainedModel, stretch: Stretch) -> None:
        """stretch: that of the model."""
        self.stretch = stretch
        self._spans: Seq[PositionRun] | None = None
        self._rows: dict[tuple[int, str | None], RotaryRows] = {}
        for module in stretched_modules(model):
            object.__setattr__(module, "forward", functools.partial(self._turn, module))

    @classmethod
    def of(cls, model: PreTrainedModel) -> "Turning | None":
        """None for a model whose modules need not know."""
        stretch = stretch_of(model)
        return None if stretch is None else cls(model, stretch)

    @contextlib.contextmanager
    def during(self, spans: Seq[PositionRun]) -> Iterator[None]:
        """Turn the positions of the passes in between as these say, (1, T) of them all."""
        self._spans = spans
        try:
            yield
        finally:
            self._spans = None

    def _turn(self, module: Any, x: torch.Tensor, position_ids: torch.Tensor, layer_type: str | None = None) -> Any:
        # Any: what the module itself takes and gives
        if self._spans is None:
            tables = _called(module, x, position_ids, layer_type)
        else:
            key = id(module), layer_type
            if key not in self._rows:
                self._rows[key] = RotaryRows(module, layer_type, x)
            tables = tuple(table[None] for table in self._rows[key].gathered(self._spans))
        return tables if len(tables) > 1 else tables[0]


def turned(turning: Turning | None, spans: Seq[PositionRun]) -> contextlib.AbstractContextManager[None]:
    """While this lasts, passes turn their positions as these say."""
    return contextlib.nullcontext() if turning is None else turning.during(spans)


def _called(module: Any, x: torch.Tensor, positions: torch.Tensor, layer_type: str | None) -> Tables:
    """What a rotary module gives for a call with these positions (1, n), as if there had been none before."""
    kinds = () if layer_type is None else (layer_type,)
    forward: Any = type(module).forward
    if rule_of(module, layer_type):
        # After a call of one position nothing is left of a longer one before it.
        forward(module, x, positions.new_zeros(1, 1), *kinds)
    given: Any = forward(module, x, positions, *kinds)
    return (given,) if isinstance(given, torch.Tensor) else tuple(given)


def stretched_modules(model: PreTrainedModel) -> list[Any]:  # Any: rotary modules
    """The modules whose angles depend on how many tokens are computed at once."""
    return [module for module in model.modules() if any(rule_of(module, kind) for kind in _layer_types(module))]


def stretch_of(model: PreTrainedModel) -> Stretch | None:
    """On which lengths the rotary positions of a model depend; None where on none."""
    rules = [
        rule
        for module in stretched_modules(model)
        for kind in _layer_types(module)
        if (rule := rule_of(module, kind)) is not None
    ]
    return joined(rules, _renewed_at(model)) if rules else None


def rule_of(module: Any, layer_type: str | None) -> Stretch | None:  # Any: some module
    """What `dynamic_rope_update` of the library would do to a rotary module, as a rule."""
    kind = getattr(module, "rope_type", None)
    kind = kind.get(layer_type) if isinstance(kind, dict) else kind
    if not isinstance(kind, str):
        return None
    if "dynamic" in kind:
        return Stretch(grows_from=int(module.original_max_seq_len))
    if kind == "longrope":
        parameters = module.config.rope_parameters
        parameters = parameters if layer_type is None else parameters[layer_type]
        return Stretch(switches=frozenset({int(parameters["original_max_position_embeddings"])}))
    return None


def _layer_types(module: Any) -> list[str | None]:  # Any: some module
    kinds = getattr(module, "rope_type", None)
    return list(kinds) if isinstance(kinds, dict) else [None]


class _Filled(DynamicCache):
    """A cache that says it holds so many tokens."""

    num_tokens = 0

    def __bool__(self) -> bool:
        return True

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.num_tokens


def _renewed_at(model: Any) -> int:  # Any: a model that can generate
    """The length at which `generate()` throws a model's cache away, found out by asking the model; 0 for none."""
    length = getattr(model.config, "original_max_position_embeddings", None)
    if not length:
        return 0
    cache = _Filled(config=model.config)
    cache.num_tokens = length
    token_ids = torch.zeros(1, length + 1, dtype=torch.int64, device=model.device)
    inputs = model.prepare_inputs_for_generation(token_ids, past_key_values=cache, next_sequence_length=1)
    return length + 1 if inputs.get("past_key_values") is None else 0
