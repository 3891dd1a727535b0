"""How answers of every dialect are read, over a real connection where that matters."""

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from beamhouse.server.command.bench.wire import events
from benchmarks.cases.loads import Ask
from benchmarks.peers.token_server import Emit, Server
from benchmarks.serving.dialects import UNKNOWN, Completion, Native, TextCompletion
from benchmarks.serving.wire import BadAnswer, Raw, drive, read


def counted(prompt: list[int], num_new: int, emit: Emit) -> None:
    for number in range(num_new):
        emit([prompt[0] + number])


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server(0, counted)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def test_lanes_ask_one_request_after_another_and_all_tokens_come_with_their_times(server: Server):
    lanes = [[Ask([10, 11], 3), Ask([20], 2)], [Ask([30], 1)]]
    answers = drive(server.server_port, Completion(), lanes)
    assert [answer.token_ids for answer in answers] == [[10, 11, 12], [20, 21], [30]]
    assert [answer.num_prompt for answer in answers] == [2, 1, 1]
    assert answers[1].sent_s >= answers[0].arrived_s[-1]
    assert all(answer.arrived_s == sorted(answer.arrived_s) for answer in answers)
    assert all(len(answer.arrived_s) == len(answer.token_ids) for answer in answers)


def test_a_server_that_hangs_up_is_told_and_not_waited_for(server: Server):
    server.complete = lambda prompt, num_new, emit: emit([1])
    with pytest.raises(BadAnswer, match="after 1 of 2 tokens"):
        drive(server.server_port, Completion(), [[Ask([1], 2)]])
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with pytest.raises(BadAnswer, match="it hung up"):
        drive(port, Completion(), [[Ask([1], 2)]])


def test_a_request_waits_for_its_arrival(server: Server):
    late, early = drive(server.server_port, Completion(), [[Ask([1], 1, at_s=0.05)], [Ask([2], 1)]])
    assert late.sent_s >= 0.05 > early.sent_s


def test_an_event_counts_when_its_last_piece_came():
    text = b'event: token\ndata: {"token_id": 5}\n\n: ping\n\ndata: [DONE]\n\n'
    pieces = [(float(place), text[place : place + 7]) for place in range(0, len(text), 7)]
    end = text.index(b"}") + 2  # the second line break
    assert list(events(pieces)) == [(float(end // 7 * 7), "token", {"token_id": 5})]


def test_line_ends_of_two_characters_are_line_ends():
    assert list(events([(1.0, b'data: {"a": 1}\r\n\r\n')])) == [(1.0, "", {"a": 1})]


def test_an_answer_of_another_length_is_refused():
    raw = Raw(Ask([1], 3), 0.0, [(1.0, b'data: {"tokens": [4, 5]}\n\n')])
    with pytest.raises(BadAnswer, match="after 2 of 3 tokens"):
        read(raw, Completion())


def test_this_servers_events_are_read_singly_and_together():
    native = Native()
    assert native.tokens("token", {"token_id": 3}) == [3]
    assert native.tokens("tokens", {"token_ids": [3, 4]}) == [3, 4]
    assert native.tokens("done", {"sequences": []}) == []
    with pytest.raises(BadAnswer, match="no room"):
        native.tokens("error", {"detail": "no room"})


class Words:
    def decode(self, token_ids: list[int]) -> str:
        return "".join(f" w{number}" for number in token_ids)


def test_a_server_of_text_is_asked_in_text_and_each_piece_is_a_token():
    dialect = TextCompletion(Words(), "m")
    body = dialect.body(Ask([1, 2], 7))
    assert (body["prompt"], body["max_tokens"], body["temperature"]) == (" w1 w2", 7, 0.0)
    assert dialect.tokens("", {"choices": [{"text": " w5"}]}) == [UNKNOWN]
    assert dialect.tokens("", {"choices": [{"text": ""}]}) == []


@pytest.mark.parametrize("dialect", [Completion(), TextCompletion(Words(), "m")])
def test_errors_inside_a_stream_are_no_tokens(dialect):
    with pytest.raises(BadAnswer, match="full"):
        dialect.tokens("", {"error": "full"})


def test_ends_are_ignored_or_pushed_back_so_that_lengths_are_exact():
    assert Completion().body(Ask([1], 5))["ignore_eos"] is True
    config = Native().body(Ask([1], 5))["generation_config"]
    assert config["min_new_tokens"] == config["max_new_tokens"] == 5
    assert json.dumps(Native().body(Ask([1], 5)))
