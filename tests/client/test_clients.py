"""Both clients against a scripted server: what they send, when they ask again, and what they raise."""

import socket
from email.utils import formatdate

import pytest

from beamhouse.client import (
    AnswerBroken,
    Busy,
    DeadlinePassed,
    InvalidRequest,
    NoAnswer,
    Refused,
    RequestFailed,
    Unavailable,
)
from tests.client.scripted import HANG_UP, ScriptedServer, answer, event_stream, problem
from tests.client.speaking import Awaiting, Speaking, Waiting, heard

TOKEN = {"sequence": 0, "index": 0, "token_id": 7, "text": " a\u2028b\x85c"}
WHOLE = {"id": "gen-1", "generated_text": " a\u2028b\x85c"}
BUSY = answer(problem(429, "queue_full"), 429, ["Retry-After: 0"])


@pytest.fixture(params=[Waiting, Awaiting], ids=["waiting", "awaiting"])
def client(request: pytest.FixtureRequest) -> Speaking:
    return request.param()


CALLS = [
    ("generate", ("a",), {"seed": 3, "priority": None}, "POST /generate", {"inputs": "a", "stream": False, "seed": 3}),
    ("score", ([{"continuation": "b"}],), {}, "POST /score", {"pairs": [{"continuation": "b"}]}),
    ("tokenize", ("a",), {"add_special_tokens": False}, "POST /tokenize", {"inputs": "a", "add_special_tokens": False}),
    ("detokenize", ([1, 2],), {}, "POST /detokenize", {"token_ids": [1, 2]}),
    (
        "detect_watermark",
        ("a",),
        {"return_flags": True},
        "POST /watermark/detect",
        {"inputs": "a", "return_flags": True},
    ),
    (
        "validate",
        ({"top_k": 3},),
        {"prompt_len": 5},
        "POST /generation_config/validate",
        {"generation_config": {"top_k": 3}, "prompt_len": 5},
    ),
    (
        "compute_transition_scores",
        ([[1, 2]], [[[0.5]]]),
        {"normalize_logits": True},
        "POST /compute_transition_scores",
        {"sequences": [[1, 2]], "scores": [[[0.5]]], "normalize_logits": True},
    ),
    ("generation_config", (), {}, "GET /generation_config", None),
    ("info", (), {}, "GET /info", None),
    ("health", (), {}, "GET /health", None),
]


@pytest.mark.parametrize(("name", "arguments", "fields", "line", "body"), CALLS, ids=[call[0] for call in CALLS])
def test_a_call_is_one_request_and_its_answer_is_returned(client: Speaking, name, arguments, fields, line, body):
    with ScriptedServer(answer({"said": "this"})) as server:
        assert client.call(server.url, name, *arguments, **fields) == {"said": "this"}
    assert server.asked == [(line, body)]


def test_a_server_behind_a_path_is_asked_there(client: Speaking):
    with ScriptedServer(answer({})) as server:
        client.call(f"{server.url}/models/one/", "info")
    assert server.asked[0][0] == "GET /models/one/info"


def test_a_stream_gives_its_events_with_their_names_and_ends(client: Speaking):
    more = {"sequence": 0, "index": 1, "token_ids": [8, 9], "text": "d"}
    said = event_stream(("token", TOKEN), ("tokens", more), ("later version", {}), ("done", WHOLE))
    with ScriptedServer(said.replace(b"event: tokens", b": ping\r\n\r\nevent: tokens")) as server:
        events = heard(client, server.url, inputs="a")
    assert events == [
        {"event": "token", **TOKEN},
        {"event": "tokens", **more},
        {"event": "done", "answer": WHOLE},
    ]
    assert server.asked == [("POST /generate", {"inputs": "a", "stream": True})]


@pytest.mark.parametrize("first", [BUSY, answer(problem(503, "engine_unavailable"), 503), HANG_UP])
def test_a_request_that_was_not_answered_is_asked_again(client: Speaking, first: bytes):
    with ScriptedServer(first, first, answer({"id": "gen-1"})) as server:
        assert client.call(server.url, "generate", "a") == {"id": "gen-1"}
    assert len(server.asked) == 3
    with ScriptedServer(first, event_stream(("done", WHOLE))) as server:
        assert heard(client, server.url) == [{"event": "done", "answer": WHOLE}]


def test_patience_ends(client: Speaking):
    with ScriptedServer(BUSY, BUSY, BUSY) as server, pytest.raises(Busy, match="429 queue_full: for a reason"):
        client.call(server.url, "generate", "a")


@pytest.mark.parametrize("wanted", ["600", formatdate(4e9, usegmt=True)])
def test_a_server_that_asks_for_a_long_wait_is_not_waited_for(client: Speaking, wanted: str):
    refused = answer(problem(503, "engine_unavailable"), 503, [f"Retry-After: {wanted}"])
    with ScriptedServer(refused) as server, pytest.raises(Unavailable) as raised:
        client.call(server.url, "generate", "a")
    assert raised.value.retry_after == wanted


@pytest.mark.parametrize("past", ["0", formatdate(1e9, usegmt=True)])
def test_a_moment_that_has_passed_is_no_wait(client: Speaking, past: str):
    refused = answer(problem(503, "engine_unavailable"), 503, [f"Retry-After: {past}"])
    with ScriptedServer(refused, answer({})) as server:
        assert client.call(server.url, "generate", "a") == {}


def test_nobody_there_is_no_answer(client: Speaking):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NoAnswer, match="ConnectError"):
        client.call(f"http://127.0.0.1:{port}", "info")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, InvalidRequest), (404, InvalidRequest), (422, InvalidRequest), (500, RequestFailed), (504, DeadlinePassed)],
)
def test_a_problem_is_raised_with_its_fields_and_not_asked_again(client: Speaking, status: int, kind: type[Refused]):
    wrong = [{"pointer": "/generation_config/top_p", "code": "out_of_range", "message": "top_p is 2"}]
    with (
        ScriptedServer(answer(problem(status, "invalid_request", errors=wrong), status)) as server,
        pytest.raises(kind, match=f"{status} invalid_request: for a reason") as raised,
    ):
        client.call(server.url, "generate", "a", generation_config={"top_p": 2})
    refused = raised.value
    assert (refused.status, refused.code, refused.detail) == (status, "invalid_request", "for a reason")
    assert (refused.request_id, refused.errors) == ("r1", wrong)


def test_what_a_proxy_says_is_a_problem_too(client: Speaking):
    with (
        ScriptedServer(answer(b"<html>Bad Gateway</html>", 502)) as server,
        pytest.raises(RequestFailed, match="502 http_error: <html>Bad Gateway</html>"),
    ):
        client.call(server.url, "info")


def test_a_server_that_loads_is_no_error_to_whoever_asks_for_its_health(client: Speaking):
    loading = {"status": "not_ready", "stage": "weights", "share": 0.5}
    with ScriptedServer(answer(loading, 503)) as server:
        assert client.call(server.url, "health") == loading


def test_an_error_event_is_raised_behind_what_came_before_it(client: Speaking):
    events = []
    with (
        ScriptedServer(event_stream(("token", TOKEN), ("error", problem(500, "batch_failed")))) as server,
        pytest.raises(RequestFailed, match="batch_failed"),
    ):
        client.stream(server.url, lambda event: events.append(event) is not None)
    assert events == [{"event": "token", **TOKEN}]
    assert len(server.asked) == 1


@pytest.mark.parametrize("said", [event_stream(("token", TOKEN)), event_stream(("token", TOKEN))[:-9]])
def test_a_stream_that_breaks_off_is_told_and_not_begun_again(client: Speaking, said: bytes):
    with ScriptedServer(said) as server, pytest.raises(AnswerBroken):
        heard(client, server.url)
    assert len(server.asked) == 1


def test_an_answer_that_breaks_off_is_told_and_not_asked_again(client: Speaking):
    with ScriptedServer(answer({"id": "gen-1"})[:-3]) as server, pytest.raises(AnswerBroken, match="broke off"):
        client.call(server.url, "generate", "a")
    assert len(server.asked) == 1


def test_an_answer_that_is_none_is_told(client: Speaking):
    with ScriptedServer(answer(b"<html>Log in</html>")) as server, pytest.raises(AnswerBroken):
        client.call(server.url, "info")


def test_tensors_as_a_file_are_bytes(client: Speaking):
    with ScriptedServer(answer(b"\x08\x00file")) as server:
        asked = {"generation_config": {"output_scores": True}, "outputs": {"positions": [0]}}
        assert client.call(server.url, "generate_safetensors", "a", **asked) == b"\x08\x00file"
    assert server.asked[0][1]["outputs"] == {"positions": [0], "tensors": "safetensors"}
    with pytest.raises(ValueError, match="generate_safetensors returns them"):
        client.call("http://127.0.0.1:1", "generate", "a", outputs={"tensors": "safetensors"})
