"""Messages between the two processes: whole, in order, and without waiting for a side that does not read."""

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamhouse.engine.link.frames import Channel, Frames, framed


@given(st.lists(st.binary(max_size=300)), st.integers(min_value=1, max_value=97))
def test_messages_come_out_as_they_went_in_however_they_are_cut(messages: list[bytes], size: int) -> None:
    frames, sent = Frames(), b"".join(map(framed, messages))
    pieces = [sent[start : start + size] for start in range(0, len(sent), size)]
    assert [message for piece in pieces for message in frames.feed(piece)] == messages


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Channel(ours), theirs


def test_listening_takes_all_that_has_arrived(ends) -> None:
    channel, other = ends
    assert channel.listen(wait=False) == []
    other.sendall(framed(b"a") + framed(b"") + framed(b"c")[:3])
    assert channel.listen(wait=True) == [b"a", b""]
    other.sendall(framed(b"c")[3:])
    assert channel.listen(wait=True) == [b"c"]


def test_what_came_before_the_end_is_heard_first(ends) -> None:
    channel, other = ends
    other.sendall(framed(b"a"))
    other.close()
    assert channel.listen(wait=True) == [b"a"]
    assert channel.listen(wait=True) is None
    channel.say(b"nobody hears this")
    assert channel.listen(wait=False) is None


def test_a_thread_wakes_a_channel_that_waits(ends) -> None:
    channel, other = ends
    ringing = threading.Thread(target=channel.wake)
    ringing.start()
    assert channel.listen(wait=True) == []
    ringing.join()
    other.sendall(framed(b"a"))
    assert channel.listen(wait=True) == [b"a"]
    channel.close()
    channel.wake()


def test_saying_does_not_wait_for_a_side_that_does_not_read(ends) -> None:
    channel, other = ends
    large = bytes(range(256)) * 40_000  # ten million bytes, more than any socket holds
    channel.say(large)
    channel.say(b"next")
    heard: list[bytes] = []
    frames = Frames()

    def read() -> None:
        while len(heard) < 2:
            heard.extend(frames.feed(other.recv(1 << 16)))
        other.sendall(framed(b"thanks"))

    reader = threading.Thread(target=read)
    reader.start()
    assert channel.listen(wait=True) == [b"thanks"]
    reader.join()
    assert heard == [large, b"next"]


def test_closing_lets_the_last_words_be_taken(ends) -> None:
    channel, other = ends
    channel.say(b"x" * 1_000_000)
    heard: list[bytes] = []
    frames = Frames()

    def read() -> None:
        while piece := other.recv(1 << 16):
            heard.extend(frames.feed(piece))

    reader = threading.Thread(target=read)
    reader.start()
    channel.close()
    reader.join()
    assert heard == [b"x" * 1_000_000]
