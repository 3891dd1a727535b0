"""The events in the bytes of a stream, however they are cut, and how long a client waits."""

import pytest

from beamhouse.client.errors import NoAnswer
from beamhouse.client.wire import EventReader, Retries

SAID = (
    ': ping\n\nevent: token\ndata: {"text": "ä\u2028"}\n\n'
    "data:one\r\ndata: two\r\n\r\nid: 4\n\nevent:done\ndata: {}\n\n"
).encode()
HEARD = [("token", '{"text": "ä\u2028"}'), ("", "one\ntwo"), ("done", "{}")]


@pytest.mark.parametrize("size", range(1, len(SAID) + 1, 3))
def test_events_are_the_same_however_they_are_cut(size: int):
    reader = EventReader()
    pieces = [SAID[start : start + size] for start in range(0, len(SAID), size)]
    assert [event for piece in pieces for event in reader.feed(piece)] == HEARD


def test_waits_double_and_never_exceed_what_is_set():
    retries = Retries(attempts=5, first_wait_s=1.0, max_wait_s=3.0)
    lost = NoAnswer("lost", is_retryable=True)
    for attempt, most in enumerate((1.0, 2.0, 3.0, 3.0), start=1):
        wait_s = retries.wait_s(lost, attempt)
        assert wait_s is not None
        assert most / 2 <= wait_s <= most
    assert retries.wait_s(lost, 5) is None


def test_what_was_waited_for_in_vain_is_not_asked_again():
    assert Retries().wait_s(NoAnswer("timeout", is_retryable=False), 1) is None
