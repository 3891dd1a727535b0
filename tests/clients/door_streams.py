"""What the streams of the doors come to, in the shape of their plain answers."""

import json
from typing import Any

import httpx

Shape = dict[str, Any]


def data_of(response: httpx.Response) -> list[Any]:
    """The JSON of every event."""
    assert response.headers["content-type"].startswith("text/event-stream"), response.text
    blocks = [block for block in response.text.split("\n\n") if block and not block.startswith(":")]
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    said = [block.removeprefix("data: ") for block in blocks]
    return [json.loads(block) for block in said if block != "[DONE]"]


def add(choice: Shape, name: str, piece: Any) -> None:
    """Append what a piece adds; null adds nothing."""
    if piece is None:
        choice.setdefault(name, None)
    elif isinstance(piece, dict):
        for key, value in piece.items():
            add(choice.setdefault(name, None) or choice.__setitem__(name, {}) or choice[name], key, value)
    elif isinstance(piece, str | list) and choice.get(name) is not None:
        choice[name] += piece
    else:
        choice[name] = piece


def openai_joined(chunks: list[Shape]) -> Shape:
    """Both of OpenAI's answers."""
    choices: dict[int, Shape] = {}
    joined: Shape = {}
    for chunk in chunks:
        assert "error" not in chunk, chunk
        for piece in chunk["choices"]:
            choice = choices.setdefault(piece["index"], {"calls": []})
            assert choice.get("finish_reason") is None, "nothing is said of a choice that has ended"
            for name, value in piece.items():
                if name == "delta":
                    add_delta(choice, value)
                elif name != "index":
                    add(choice, name, value)
        for name in ("usage", "warnings", "native", "prompt_logprobs"):
            joined[name] = chunk.get(name) if chunk.get(name) is not None else joined.get(name)
        if chunk.get("prompt_token_ids") is not None:
            joined["prompt_token_ids"] = chunk["prompt_token_ids"]
    return joined | {"choices": [choices[index] for index in sorted(choices)]}


def add_delta(choice: Shape, delta: Shape) -> None:
    for call in delta.get("tool_calls", []):
        if "id" in call:
            assert call["index"] == len(choice["calls"])
            choice["calls"].append({"name": call["function"]["name"], "arguments": ""})
        choice["calls"][call["index"]]["arguments"] += call["function"]["arguments"]
    for name in ("content", "reasoning_content"):
        choice[name] = choice.get(name, "") + (delta.get(name) or "")


def openai_plain(answer: Shape) -> Shape:
    """The same of a plain answer."""
    choices = []
    for given in answer["choices"]:
        choice = {name: value for name, value in given.items() if name not in ("index", "message")} | {"calls": []}
        if "message" in given:
            said = given["message"]
            choice |= {name: said.get(name) or "" for name in ("content", "reasoning_content")}
            choice["calls"] = [call["function"] for call in said.get("tool_calls", [])]
        choices.append(choice)
    names = ("usage", "warnings", "native", "prompt_logprobs", "prompt_token_ids")
    return {name: answer[name] for name in names if name in answer} | {"choices": choices}


def tgi_joined(events: list[Shape]) -> Shape:
    *_, last = events
    assert "error" not in last, last
    assert [event["index"] for event in events] == list(range(1, len(events) + 1))
    assert all(event["generated_text"] is None and event["details"] is None for event in events[:-1])
    details = {name: last["details"][name] for name in ("finish_reason", "generated_tokens", "seed")}
    tops = [event["top_tokens"] for event in events if "top_tokens" in event]
    details |= {"tokens": [event["token"] for event in events]} | ({"top_tokens": tops} if tops else {})
    return {"generated_text": last["generated_text"], "details": details} | (
        {"beamhouse": last["beamhouse"]} if "beamhouse" in last else {}
    )


def tgi_plain(answer: Shape) -> Shape:
    (details,) = ({name: value for name, value in answer["details"].items() if name != "prefill"},)
    return answer | {"details": details}


def cleaned(shape: Any) -> Any:
    """Without what differs from one run to the next: names, times, what the cache held; null equals absent."""
    if isinstance(shape, dict):
        left_out = ("id", "timings", "prompt_tokens_details", "cached_prompt_tokens")
        return {key: cleaned(value) for key, value in shape.items() if key not in left_out and value is not None}
    return [cleaned(one) for one in shape] if isinstance(shape, list) else shape
