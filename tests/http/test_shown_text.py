"""Special tokens and stop strings in the texts of answers and streams."""

import pytest
from tokenizers import Tokenizer

from beamhouse.engine.link.messages import FinishReason, HypothesisUpdate, Ranking, RequestOutputs, Tokens
from beamhouse.schemas.words import FinishType
from tests.fakes import fake_info
from tests.http.events import parse_events
from tests.http.problems import check_problem

pytestmark = pytest.mark.anyio
WITHOUT = {"include_stop_string": False}


def stopped(stop_string: str, *steps: list[int], sequence: int = 0) -> list[Tokens]:
    reason = FinishReason(FinishType.STOP_STRING, stop_string=stop_string)
    return [Tokens(sequence, step, finish_reason=reason if step is steps[-1] else None) for step in steps]


async def both(client, **body):
    """The pieces of each sequence of a stream, and its plain answer."""
    events = parse_events((await client.post("/generate", json={**body, "stream": True})).text)
    plain = (await client.post("/generate", json=body)).json()
    assert [event["text"] for event in events[-1][1]["sequences"]] == [item["text"] for item in plain["sequences"]]
    pieces: list[list[str]] = [[] for _ in plain["sequences"]]
    for name, data in events:
        if name in ("token", "tokens"):
            pieces[data["sequence"]].append(data["text"])
    return pieces, plain


async def test_a_text_ends_before_its_stop_string_and_a_stream_never_shows_it(client, engine, encode):
    steps = [encode("so"), encode("EN"), encode("E"), encode("ND!")]
    engine.script = lambda submission: stopped("END", *steps)
    body = {"inputs": "ab", "generation_config": {"stop_strings": ["END", "no"]}}
    pieces, plain = await both(client, **body, outputs=WITHOUT)
    assert pieces == [["so", "", "EN", ""]]
    assert plain["generated_text"] == "soEN"
    assert plain["sequences"][0]["token_ids"] == [token_id for step in steps for token_id in step]
    assert plain["sequences"][0]["finish_reason"] == {"type": "stop_string", "stop_string": "END"}
    pieces, plain = await both(client, **body)
    assert pieces == [["so", "EN", "E", "ND!"]]
    assert plain["generated_text"] == "soENEND!"


async def test_a_stop_string_may_begin_in_the_prompt(client, engine, encode):
    engine.script = lambda submission: stopped("bcd", encode("c"), encode("d"))
    pieces, plain = await both(client, inputs="ab", generation_config={"stop_strings": "bcd"}, outputs=WITHOUT)
    assert pieces == [["", ""]]
    assert plain["generated_text"] == ""


async def test_what_is_held_back_is_told_when_the_sequence_ends_otherwise(client, engine, encode):
    engine.script = lambda submission: [
        Tokens(0, encode("aE")),
        Tokens(0, encode("N")),
        Tokens(0, [], finish_reason=FinishReason(FinishType.TIME)),
    ]
    pieces, _ = await both(client, inputs="a", generation_config={"stop_strings": "END"}, outputs=WITHOUT)
    assert pieces == [["a", "", "EN"]]


async def test_each_sequence_ends_before_its_own_stop_string(client, engine, encode):
    engine.script = lambda submission: [
        *stopped("x", encode("ab"), encode("cx")),
        *stopped("yz", encode("xy"[1:]), encode("z"), sequence=1),
    ]
    config = {"stop_strings": ["x", "yz"], "do_sample": True, "num_return_sequences": 2}
    pieces, plain = await both(client, inputs="a", generation_config=config, outputs=WITHOUT)
    assert pieces == [["ab", "c"], ["", ""]]
    assert [sequence["text"] for sequence in plain["sequences"]] == ["abc", ""]


async def test_beams_show_nothing_of_a_stop_string_live_or_final(client, engine, encode):
    def script(submission):
        reason = FinishReason(FinishType.STOP_STRING, stop_string="END")
        hypotheses = [HypothesisUpdate(encode("aEN"), -1.0), HypothesisUpdate(encode("ab"), -2.0)]
        return [
            Tokens(0, encode("aE")),
            RequestOutputs(submission.request_id, hypotheses=hypotheses),
            Tokens(0, encode("ND"), finish_reason=reason, ranking=Ranking(score=-0.5, beam_indices=[0] * 4)),
        ]

    engine.script = script
    body = {"inputs": "q", "generation_config": {"stop_strings": "END", "num_beams": 2}, "stream": True}
    outputs = {**WITHOUT, "progress": True}
    events = parse_events((await client.post("/generate", json={**body, "outputs": outputs})).text)
    told = [data for name, data in events if name == "progress"]
    assert [hypothesis["text"] for hypothesis in told[0]["hypotheses"]] == ["a", "ab"]
    assert [data["text"] for name, data in events if name == "tokens"] == ["a", ""]
    assert events[-1][1]["generated_text"] == "a"


@pytest.mark.parametrize(("skips", "expected"), [(None, "ab"), (True, "ab"), (False, "a<end>b<end>")])
async def test_special_tokens_are_shown_on_demand(client, engine, tmp_path, encode, skips, expected):
    tokenizer = Tokenizer.from_file(engine.info.tokenizer_file)
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    engine.info = fake_info(str(tmp_path / "tokenizer.json"), vocab_size=257)
    engine.script = lambda submission: stopped("b", encode("a"), [256], [*encode("b"), 256])
    pieces, plain = await both(client, inputs="a", outputs={"skip_special_tokens": skips})
    assert "".join(pieces[0]) == plain["generated_text"] == expected


async def test_a_model_without_tokenizer_shows_no_special_tokens(client, engine):
    engine.info = fake_info(None)
    refused = await client.post("/generate", json={"inputs": [3], "outputs": {"skip_special_tokens": False}})
    assert check_problem(refused, 422)["errors"][0]["pointer"] == "/outputs/skip_special_tokens"
