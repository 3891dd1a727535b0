"""What takes long to build is built once for those who ask for the same."""

import pytest

from beamhouse.engine.logits.remembered import Remembered


def test_what_was_asked_for_lately_is_built_once() -> None:
    remembered, built = Remembered[str](2), []

    def ask(given: list[int]) -> str:
        return remembered.get(given, lambda: built.append(given) or str(given))

    for given in ([1], [2], [1], [3], [1], [2]):
        assert ask(given) == str(given)
    assert built == [[1], [2], [3], [2]]


def test_what_cannot_be_built_is_not_remembered() -> None:
    remembered = Remembered[int]()
    with pytest.raises(ZeroDivisionError):
        remembered.get("key", lambda: 1 // 0)
    assert remembered.get("key", lambda: 2) == 2
