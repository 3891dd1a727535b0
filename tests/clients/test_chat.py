"""`beamhouse chat` in a pseudo-terminal, with a server and with a model here."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from beamhouse.engine.loading.files import BUILTIN_FILES
from tests.clients.terminal import Terminal, terminal
from tests.deploy.processes import ROOT, Replica

COMMAND = ("-m", "beamhouse.server", "chat")
PROMPT = "\n> "
CUT = "(cut: the maximum length is reached)"


def say(chat: Terminal, line: str) -> str:
    """What is shown until the next prompt, without the line itself."""
    chat.type(line)
    return chat.until(PROMPT).removeprefix(line).removesuffix(PROMPT).strip()


def test_a_conversation_with_a_server(server: Replica, tmp_path: Path):
    file = tmp_path / "said.json"
    with terminal(*COMMAND, server.url, "--system", "Be brief.", "--max-new-tokens", "8") as chat:
        assert "builtin: a conversation" in chat.until("> ")
        first = say(chat, "Tell me of a fox.").removesuffix(CUT).strip()
        assert first
        assert say(chat, "/set do_sample true") == ""
        assert say(chat, "/set seed 7") == ""
        assert "top_p is 3; allowed: 0 <= top_p <= 1" in say(chat, "/set top_p 3")
        assert "there is no field temprature; near to it: temperature" in say(chat, "/set temprature 1")
        second = say(chat, "Go on.").removesuffix(CUT).strip()
        assert say(chat, "/retry").removesuffix(CUT).strip() == second
        shown = say(chat, "/show").splitlines()
        assert [line.strip() for line in shown] == [
            "max_new_tokens = 8",
            "do_sample = true",
            "seed = 7",
            "system: Be brief.",
            "4 turns",
        ]
        assert say(chat, "/unset seed") == ""
        assert "seed is not set" in say(chat, "/unset seed")
        assert say(chat, f"/save {file}") == ""
        assert say(chat, "/clear") == ""
        assert "nothing was said yet" in say(chat, "/retry")
        assert "there is no command /what" in say(chat, "/what")
        assert "/save FILE" in say(chat, "/help")
        chat.type("/exit")
        assert chat.ended() == 0
    saved = json.loads(file.read_text(encoding="utf-8"))
    assert saved["generation_config"] == {"max_new_tokens": 8, "do_sample": True}
    assert [turn["role"] for turn in saved["messages"]] == ["system", "user", "assistant", "user", "assistant"]
    assert [turn["content"].strip() for turn in saved["messages"][2::2]] == [first, second]


def test_an_interrupt_stops_the_answer_and_not_the_chat(server: Replica):
    with terminal(*COMMAND, server.url, "--plain") as chat:
        chat.until("> ")
        say(chat, "/set max_new_tokens 1000")
        say(chat, "/set eos_token_id 2")
        chat.type("Once upon a time")
        chat.until(" there was")
        chat.interrupt()
        chat.until("(stopped)")
        chat.until(PROMPT)
        say(chat, "/set max_new_tokens 2")
        assert CUT in say(chat, " and")
        chat.type("half of a line")
        chat.until(PROMPT)
        chat.interrupt()
        chat.until("> ")
        chat.leave()
        assert chat.ended() == 0


def test_a_message_may_have_several_lines_and_what_is_refused_is_forgotten(server: Replica):
    with terminal(*COMMAND, server.url, "--plain", "--max-new-tokens", "3") as chat:
        chat.until("> ")
        chat.type("The fox\\")
        chat.until(". ")
        assert CUT in say(chat, "ran")
        assert say(chat, "/set num_return_sequences 2") == ""
        assert "num_return_sequences" in say(chat, "again")
        assert "2 turns" in say(chat, "/show")
        assert say(chat, "/set num_beams 2") == ""
        assert "--- 2" in say(chat, "again")
        chat.leave()
        assert chat.ended() == 0


def test_a_model_here_continues_and_is_stopped_like_a_server(tmp_path: Path):
    with terminal(
        *COMMAND, "builtin", "--plain", "--max-new-tokens", "1000", "--eos-token-id", "2", "--num-threads", "1"
    ) as chat:
        chat.until("builtin: it goes on behind what you write")
        chat.until("> ")
        chat.type("Once upon a time")
        chat.until(" there was")
        chat.interrupt()
        chat.until("(stopped)")
        chat.until(PROMPT)
        assert say(chat, "/set max_new_tokens 3") == ""
        assert CUT in say(chat, " and")
        chat.leave()
        assert chat.ended() == 0


def test_a_model_without_a_template_says_what_it_can_do(tmp_path: Path):
    shutil.copytree(BUILTIN_FILES, tmp_path / "model", ignore=shutil.ignore_patterns("chat_template*"))
    command = [sys.executable, *COMMAND, str(tmp_path / "model"), "--num-threads", "1"]
    done = subprocess.run(command, cwd=ROOT, input="", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("--plain lets it go on behind what you write.")


def test_a_server_that_is_not_there_is_one_line():
    command = [sys.executable, *COMMAND, "http://127.0.0.1:1"]
    done = subprocess.run(command, cwd=ROOT, input="", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "beamhouse: ConnectError: [Errno 111] Connection refused\n"


def test_the_settings_of_a_server_are_its_own():
    command = [sys.executable, *COMMAND, "http://127.0.0.1:1", "--max-rows", "3"]
    done = subprocess.run(command, cwd=ROOT, input="", capture_output=True, text=True, check=False)
    assert done.stderr == "beamhouse: the server at http://127.0.0.1:1 has its own settings; leave out max_rows\n"
