"""`transformers chat`, as the package has it, in a pseudo-terminal."""

import urllib.parse

import pytest

from tests.clients.terminal import Terminal, terminal
from tests.deploy.processes import Replica

COMMAND = ("-m", "transformers.cli.transformers", "chat")
ME, MODEL = "<me>:\n", "<any/name>:\n"
LIMIT = "Continue generating? (y/N): "


def say(chat: Terminal, line: str) -> str:
    """The answer, without the spaces that the terminal fills it up with."""
    chat.type(line)
    chat.until(MODEL)
    shown = chat.until("Generation stopped after reaching the token limit.")
    chat.until(LIMIT)
    chat.type("n")
    chat.until(ME)
    return shown.partition("tokens in")[0]


@pytest.mark.parametrize("path", ["", "/v1"])
def test_a_conversation(server: Replica, path: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)  # its client asks nobody then, not even this machine
    # By this name and with its port, the command asks first whether the server is healthy.
    url = f"http://localhost:{urllib.parse.urlsplit(server.url).port}{path}"
    flags = ["do_sample=False", "max_new_tokens=8", "repetition_penalty=1.1", "eos_token_id=[]"]
    with terminal(*COMMAND, "any/name", url, *flags, "--user", "me", "--system-prompt", "Be brief.") as chat:
        chat.until("any/name was already loaded.")
        chat.until(ME)
        assert say(chat, "Once upon a time").strip()
        chat.type("!set num_beams=3")
        chat.until(ME)
        assert say(chat, "there was a fox").strip()
        for command in ("!set num_beams=1", "!clear"):
            chat.type(command)
            chat.until(ME)
        assert say(chat, "Once upon a time").strip()
        chat.type("!exit")
        assert chat.ended() == 0
