"""What the streams of the doors come to, in the shape of their plain answers."""

import json
from typing import Any

import httpx
from pydantic_core import from_json

Shape = dict[str, Any]
NAMES = ("id", "call_id", "created_at", "completed_at")


def data_of(response: httpx.Response) -> list[Any]:
    """The JSON of every event."""
    assert response.headers["content-type"].startswith("text/event-stream"), response.text
    blocks = [block for block in response.text.split("\n\n") if block and not block.startswith(":")]
    *names, data = zip(*(block.rpartition("\n")[::2] for block in blocks), strict=True)
    assert all(line.startswith("data: ") for line in data)
    said = [json.loads(line.removeprefix("data: ")) for line in data if line != "data: [DONE]"]
    for name, event in zip(names[0], said, strict=False):
        assert name in ("", f"event: {event.get('type')}")
    return said


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
        {"native": last["native"]} if "native" in last else {}
    )


def tgi_plain(answer: Shape) -> Shape:
    (details,) = ({name: value for name, value in answer["details"].items() if name != "prefill"},)
    return answer | {"details": details}


def response_joined(events: list[Shape]) -> Shape:
    """The response of the last event, and beside it what the others come to."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    said: list[Shape] = []
    for event in events[:-1]:
        kind = event["type"].removeprefix("response.")
        if kind == "output_item.added":
            assert event["output_index"] == len(said)
            said.append({"type": event["item"]["type"], "name": event["item"].get("name"), "text": "", "logprobs": []})
        elif kind.endswith(".delta"):
            said[event["output_index"]]["text"] += event["delta"]
            said[event["output_index"]]["logprobs"] += event.get("logprobs", [])
        elif kind == "output_text.done" and event.get("logprobs"):
            said[event["output_index"]]["logprobs"] = event["logprobs"]
    return events[-1]["response"] | {"said": said}


def response_plain(answer: Shape) -> Shape:
    said = []
    for item in answer["output"]:
        (part,) = item.get("content") or [{"text": item.get("arguments")}]
        told = {"type": item["type"], "name": item.get("name"), "text": part["text"]}
        said.append(told | {"logprobs": part.get("logprobs", [])})
    return answer | {"said": said}


def message_joined(events: list[Shape]) -> Shape:
    message: Shape = events[0]["message"]
    pieces: list[str] = []
    for event in events[1:]:
        match event["type"]:
            case "content_block_start":
                assert event["index"] == len(message["content"])
                message["content"].append(event["content_block"])
                pieces = []
            case "content_block_delta":
                delta = event["delta"]
                add_piece(message["content"][event["index"]], delta, pieces)
            case "message_delta":
                message |= event["delta"] | {name: event[name] for name in event if name not in ("type", "delta")}
    assert events[-1] == {"type": "message_stop"}
    return message_plain(message)


def add_piece(block: Shape, delta: Shape, pieces: list[str]) -> None:
    if delta["type"] == "input_json_delta":
        pieces.append(delta["partial_json"])
        block["input"] = from_json("".join(pieces), allow_partial=True)
    else:
        name = delta["type"].removesuffix("_delta")
        block[name] += delta[name]


def message_plain(answer: Shape) -> Shape:
    """The cache holds more of a prompt the second time."""
    usage = answer["usage"]
    num_prompt = usage["input_tokens"] + usage["cache_read_input_tokens"]
    return answer | {"usage": {"prompt_tokens": num_prompt, "completion_tokens": usage["output_tokens"]}}


def cleaned(shape: Any) -> Any:
    """Without what differs from one run to the next: names, times, what the cache held; null equals absent."""
    if isinstance(shape, dict):
        left_out = ("timings", "prompt_tokens_details", "cached_prompt_tokens", "input_tokens_details", *NAMES)
        return {key: cleaned(value) for key, value in shape.items() if key not in left_out and value is not None}
    return [cleaned(one) for one in shape] if isinstance(shape, list) else shape
