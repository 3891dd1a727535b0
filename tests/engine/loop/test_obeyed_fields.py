"""Every field of the library is either obeyed by somebody or refused for a reason."""

from beamhouse.engine.loop.obeyed_fields import NOT_OBEYED, OBEYED
from beamhouse.schemas.generation.config import GenerationConfig


def test_every_field_is_obeyed_or_refused() -> None:
    assert set(NOT_OBEYED) | OBEYED == set(GenerationConfig.model_fields)


def test_no_field_is_both() -> None:
    assert not set(NOT_OBEYED) & OBEYED
