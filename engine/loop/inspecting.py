"""Hidden states and attention maps of a request that has ended, cut into the library's steps."""

from collections.abc import Iterator

import torch
from torch import Tensor

from beamhouse.engine.decoding.requested_outputs import encode_tensor, positions_of
from beamhouse.engine.link.messages import TensorPiece, Tokens
from beamhouse.engine.runners.runner import InspectableRunner, Inspection, Seen
from beamhouse.engine.state.request import Request


def is_inspected(request: Request) -> bool:
    """Whether anything is asked for that a pass of its own has to show."""
    return request.config.output_hidden_states or request.config.output_attentions


class Inspecting:
    """One request on the way to its tensors; each turn of the iteration computes a piece of them.

    The library's steps are the prompt, then one token each. The newest token was never fed, so the library has nothing
    for it, and neither has this. What a sequence did not reach is NaN.
    """

    def __init__(self, request: Request, runner: InspectableRunner, ended_at: float) -> None:
        """ended_at: when its last token was chosen, in `time.monotonic()` seconds."""
        self.request, self.ended_at = request, ended_at
        self._runner = runner
        self._steps = positions_of(request.submission.wanted, max(len(output.token_ids) for output in request.outputs))
        self._named: dict[str, Tensor] = {}

    def __iter__(self) -> Iterator[None]:
        for row, output in enumerate(self.request.outputs):
            token_ids = (self.request.submission.prompt_ids + output.token_ids)[:-1]
            for seen in self._runner.inspect(token_ids, self._inspection(output)):
                self._take(row, seen)
                yield

    def tensors(self) -> dict[str, TensorPiece]:
        """All of them, once nothing is missing."""
        return {name: encode_tensor(tensor) for name, tensor in self._named.items()}

    def _inspection(self, output: Tokens) -> Inspection:
        config, wanted, num_prompt = self.request.config, self.request.submission.wanted, self.request.num_prompt
        num_fed = num_prompt + len(output.token_ids) - 1
        places = list(range(num_prompt)) if 0 in self._steps else []
        places += sorted(num_prompt + step - 1 for step in self._steps if step)
        reached = [place for place in places if place < num_fed]
        wants_states, wants_maps = config.output_hidden_states, config.output_attentions
        return Inspection(reached, wanted.layers, wants_states, wants_maps, num_prompt)

    def _take(self, row: int, seen: Seen) -> None:
        num_prompt = self.request.num_prompt
        of_steps: dict[int, list[int]] = {}
        for index, place in enumerate(seen.places):
            of_steps.setdefault(max(0, place - num_prompt + 1), []).append(index)
        for step, rows in of_steps.items():
            first, end = (num_prompt + step - 1 if step else 0), num_prompt + step
            inside = [seen.places[index] - first for index in rows]
            for layer, states in seen.hidden_states.items():
                whole = self._tensor(f"hidden_states.{step}.{layer}", (end - first, states.shape[1]))[row]
                whole[inside] = states[rows]
            for layer, maps in seen.attentions.items():
                whole = self._tensor(f"attentions.{step}.{layer}", (maps.shape[1], end - first, end))[row]
                num_keys = min(maps.shape[2], end)
                whole[:, inside] = 0.0  # a piece ends before the tokens that its own do not attend to
                whole[:, inside, :num_keys] = maps[rows, :, :num_keys].transpose(0, 1)

    def _tensor(self, name: str, shape: tuple[int, ...]) -> Tensor:
        if name not in self._named:
            self._named[name] = torch.full((len(self.request.outputs), *shape), torch.nan)
        return self._named[name]


class Inspections:
    """The requests that have ended and wait for their tensors, one after the other."""

    def __init__(self, runner: InspectableRunner) -> None:
        self._runner = runner
        self._waiting: dict[Request, tuple[Inspecting, Iterator[None]]] = {}

    @property
    def first(self) -> Request | None:
        """Whose turn it is."""
        return next(iter(self._waiting), None)

    def add(self, request: Request, ended_at: float) -> None:
        inspecting = Inspecting(request, self._runner, ended_at)
        self._waiting[request] = inspecting, iter(inspecting)

    def drop(self, request: Request) -> None:
        self._waiting.pop(request, None)

    def advance(self) -> Inspecting | None:
        """Compute the next piece of the first; returns it once nothing is missing."""
        inspecting, pieces = next(iter(self._waiting.values()))
        try:
            next(pieces)
        except StopIteration:
            return inspecting
        return None
