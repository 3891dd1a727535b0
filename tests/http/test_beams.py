"""Answers and events of the modes that search with beams."""

import pytest

from tests.fakes import search
from tests.http.events import parse_events
from tests.http.problems import check_problem

pytestmark = pytest.mark.anyio

CONFIG = {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 3}
ALL = {"transition_scores": True, "top_n_tokens": 1}


@pytest.fixture(autouse=True)
def beams(engine):
    engine.script = search


async def stream(client, **body):
    response = await client.post("/generate", json={"stream": True, "generation_config": CONFIG, **body})
    assert response.status_code == 200, response.text
    return parse_events(response.text)


async def test_an_answer_says_how_each_sequence_came_about(client):
    body = {"inputs": [[97], [107]], "generation_config": CONFIG, "outputs": ALL}
    answer = (await client.post("/generate", json=body)).json()
    assert [(item["prompt_index"], item["index"]) for item in answer["sequences"]] == [(0, 0), (0, 1), (1, 2), (1, 3)]
    best, second, *_ = answer["sequences"]
    assert (best["token_ids"], second["token_ids"]) == ([98, 99, 100], [98, 99, 101])
    assert (best["score"], second["score"]) == (-0.25, -1.25)
    assert best["beam_indices"] == [0, 0, 0]
    assert best["transition_scores"] == [-0.5, -1.5, -2.5]
    assert [top["token_id"] for (top,) in best["top_tokens"]] == [100] * 3


async def test_what_nobody_asked_for_is_absent(client):
    answer = (await client.post("/generate", json={"inputs": [97], "generation_config": CONFIG})).json()
    assert {"score", "beam_indices"} <= answer["sequences"][0].keys()
    assert not {"transition_scores", "top_tokens"} & answer["sequences"][0].keys()


async def test_other_modes_have_neither_score_nor_beams(client, engine):
    engine.script = type(engine).script
    answer = (await client.post("/generate", json={"inputs": [97], "outputs": ALL})).json()
    assert not {"score", "beam_indices"} & answer["sequences"][0].keys()


async def test_tokens_are_streamed_as_they_become_final_and_without_scores(client):
    *tokens, (name, answer) = await stream(client, inputs=[97], outputs=ALL)
    assert name == "done"
    assert {name for name, _ in tokens} == {"token"}
    for sequence in answer["sequences"]:
        own = [data for _, data in tokens if data["sequence"] == sequence["index"]]
        assert [data["token_id"] for data in own] == sequence["token_ids"]
        assert [data["index"] for data in own] == [0, 1, 2]
        assert "".join(data["text"] for data in own) == sequence["text"]
    assert not any({"score", "scores", "top_tokens"} & data.keys() for _, data in tokens)
    assert answer["sequences"][0]["transition_scores"] == [-0.5, -1.5, -2.5]


async def test_the_stream_ends_with_what_a_plain_answer_is(client):
    events = await stream(client, inputs=[97], outputs=ALL)
    body = {"inputs": [97], "generation_config": CONFIG, "outputs": ALL}
    plain = (await client.post("/generate", json=body)).json()
    assert {**events[-1][1], "id": ""} == {**plain, "id": ""}


async def test_progress_is_told_if_asked(client, engine, encode):
    events = await stream(client, inputs=[encode("a"), encode("k")], outputs={"progress": True})
    progress = [data for name, data in events if name == "progress"]
    assert all(submission.wanted.progress for submission in engine.submissions)
    assert sorted({data["prompt_index"] for data in progress}) == [0, 1]
    first = next(data for data in progress if data["prompt_index"] == 0)
    best, other = first["hypotheses"]
    assert best["token_ids"][:-1] == other["token_ids"][:-1] == [encode("b")[0]]
    assert best["text"].startswith("b")
    assert (best["score"], other["score"]) == (0.0, -1.0)
    assert not any(name == "progress" for name, _ in await stream(client, inputs=[97]))


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"stream": True, "generation_config": {"do_sample": True}}, "beam search"),
        ({"stream": False, "generation_config": CONFIG}, "stream"),
    ],
)
async def test_progress_that_could_not_be_told_is_refused(client, body, word):
    problem = check_problem(
        await client.post("/generate", json={"inputs": [3], "outputs": {"progress": True}, **body}), 422
    )
    (error,) = problem["errors"]
    assert (error["pointer"], error["code"]) == ("/outputs/progress", "conflict")
    assert word in error["message"]


async def test_a_model_without_tokenizer_tells_progress_in_ids(connect, engine):
    engine.info = type(engine.info)(
        **{name: getattr(engine.info, name) for name in engine.info.__struct_fields__} | {"tokenizer_file": None}
    )
    events = await stream(await connect(), inputs=[97], outputs={"progress": True})
    progress = [data for name, data in events if name == "progress"]
    assert progress
    assert all("text" not in item for data in progress for item in data["hypotheses"])


async def test_the_progress_of_a_copy_is_that_of_its_prompt(client):
    events = await stream(client, inputs=[[97], [107]], copies=2, outputs={"progress": True})
    told = [data for name, data in events if name == "progress"]
    assert {data["prompt_index"] for data in told} == {0, 1}
    firsts = {0: 98, 1: 108}
    assert all(data["hypotheses"][0]["token_ids"][0] == firsts[data["prompt_index"]] for data in told)
