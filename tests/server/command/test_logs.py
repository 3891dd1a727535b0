"""Log lines: one pipeline for all loggers, text for people, one JSON object per line for machines."""

import json
import logging
from collections.abc import Iterator

import pytest
import sse_starlette.sse
import structlog

from beamhouse.config.settings import Settings
from beamhouse.server.command.logs import configure_logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str], **server: str) -> list[str]:
    configure_logs(Settings(server=server).server)
    structlog.get_logger("own").info("request accepted", tokens=3)
    logging.getLogger("other").info("hello\nthere %s", "you")
    logging.getLogger("other").debug("detail")
    logging.getLogger("uvicorn.error").info("chatter")
    return capsys.readouterr().err.splitlines()


def test_each_line_is_a_json_object(capsys: pytest.CaptureFixture[str]):
    own, other = map(json.loads, lines(capsys, log_format="json"))
    assert (own["event"], own["tokens"], own["level"], own["logger"]) == ("request accepted", 3, "info", "own")
    assert other["event"] == "hello\nthere you"


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]):
    own = lines(capsys, log_format="text")[0]
    assert "request accepted" in own
    assert "tokens=3" in own


def test_json_is_chosen_away_from_a_terminal(capsys: pytest.CaptureFixture[str]):
    assert json.loads(lines(capsys, log_format="auto")[0])["event"] == "request accepted"


def test_the_level_is_obeyed(capsys: pytest.CaptureFixture[str]):
    assert lines(capsys, log_format="json", log_level="error") == []


def test_no_level_shows_what_streams_say(capsys: pytest.CaptureFixture[str]):
    configure_logs(Settings(server={"log_level": "debug"}).server)
    sse_starlette.sse.logger.debug("chunk: %s", b"data: a secret")
    assert capsys.readouterr().err == ""


def test_an_exception_stays_in_its_line(capsys: pytest.CaptureFixture[str]):
    configure_logs(Settings(server={"log_format": "json"}).server)
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger("own").exception("crash")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: broken" in json.loads(line)["exception"]
