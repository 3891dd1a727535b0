"""What a connection is judged by: how many there may be, and whether a head says a length twice."""

import resource

import pytest

from beamhouse.server.edge.connections import repeats_length
from beamhouse.server.edge.open_files import places_for


def test_the_bound_follows_from_the_files_this_process_may_open() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(200, limits[1]), limits[1]))
        assert places_for(300, 16) == 300
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 300 + 16
        assert places_for(10**9, 16) < limits[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize(
    ("head", "is_repeated"),
    [
        (b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\ncontent-length: 2\r\n", False),
        (b"POST / HTTP/1.1\r\nContent-Length: 2\r\nCONTENT-LENGTH:2\r\n\r\n", True),
        (b"POST / HTTP/1.1\ncontent-length: 2,2\n\n", True),
        (b"POST / HTTP/1.1\r\nX-Content-Length: 2\r\nContent-Length: 2\r\n\r\n", False),
    ],
)
def test_a_length_that_is_said_twice_is_seen(head: bytes, is_repeated: bool) -> None:
    assert repeats_length(head) is is_repeated
