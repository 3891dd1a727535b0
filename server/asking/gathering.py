"""Gathers in our words what the body of another protocol asks for, where several of its fields may mean one of ours."""

from dataclasses import dataclass, field
from typing import Any

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.asking.translated import translated


@dataclass(slots=True)
class Gathering:
    """values: by dotted place in our own request, as `generation_config.top_p`. given_names: the client's words."""

    values: dict[str, Any] = field(default_factory=dict)
    given_names: dict[str, str] = field(default_factory=dict)

    def put(self, place: str, value: object, name: str) -> None:
        """What the client's field `name` says of a place; None says nothing.

        Raises InvalidRequest where another of its fields says something else.
        """
        if value is None:
            return
        if place in self.values and self.values[place] != value:
            other = self.given_names[place]
            message = f"{name} and {other} are two words for one thing, and differ here; give one of them"
            raise invalid(name, ProblemCode.CONFLICT, message)
        self.settle(place, value, self.given_names.get(place, name))

    def settle(self, place: str, value: object, name: str) -> None:
        """What holds in the end, whatever was said; problems with it are told of `name`."""
        self.values[place] = value
        self.given_names[place] = name

    def drop(self, place: str) -> None:
        self.values.pop(place, None)

    def get(self, place: str) -> Any:
        return self.values.get(place)

    def within(self, place: str) -> dict[str, Any]:
        """All that was said of what lies in a place, by its name there."""
        start = f"{place}."
        return {key.removeprefix(start): value for key, value in self.values.items() if key.startswith(start)}

    def request(self) -> GenerateRequest:
        """Raises InvalidRequest in the client's names for what cannot be asked of us."""
        outer = {place.partition(".")[0] for place in self.values}
        return translated({name: self.values.get(name, self.within(name)) for name in outer}, self.given_names)
