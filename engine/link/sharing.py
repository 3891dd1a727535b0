"""What the prompts of one request have in common travels to the engine once.

Both ends remember the submission before: the lists and objects that the next one has from it are left out and named
in `Submission.shares`. The two processes see the same submissions in the same order, so each knows what is meant.
"""

from typing import Any

from msgspec import structs

from beamhouse.engine.link.config_wire import unsaid
from beamhouse.engine.link.messages import Submission

PARTS = ("constraint", "logits_processor", "stopping_criteria")
"""What may be shared beside the fields of the configuration."""


def large_parts(submission: Submission) -> dict[str, Any]:
    """Everything of a submission that may be large and the same in the next one, by a name for each."""
    named: dict[str, Any] = {f"config.{name}": value for name, value in vars(submission.config).items()}
    named |= {name: getattr(submission, name) for name in PARTS}
    return {name: value for name, value in named.items() if value and not isinstance(value, bool | int | float | str)}


class Shortener:
    """The sending end, for one life of the engine process."""

    def __init__(self) -> None:
        self._last: dict[str, Any] = {}

    def shorten(self, submission: Submission) -> Submission:
        last, self._last = self._last, large_parts(submission)
        shares = [name for name, value in self._last.items() if value is last.get(name)]
        if not shares:
            return submission
        config = unsaid(submission.config, [name.removeprefix("config.") for name in shares if name not in PARTS])
        absent: dict[str, Any] = {name: None if name == "constraint" else [] for name in PARTS if name in shares}
        return structs.replace(submission, config=config, shares=shares, **absent)


class Restorer:
    """The receiving end. What was shared is the same object in all submissions that share it."""

    def __init__(self) -> None:
        self._last: dict[str, Any] = {}

    def restore(self, submission: Submission) -> Submission:
        if submission.shares:
            shared = {name: self._last[name] for name in submission.shares}
            config = {name.removeprefix("config."): shared.pop(name) for name in submission.shares if name not in PARTS}
            submission = structs.replace(submission, config=submission.config.changed(config), shares=[], **shared)
        self._last = large_parts(submission)
        return submission
