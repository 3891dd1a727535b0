"""The routes beside generation: health, information, metrics, configurations, admission, documentation."""

import asyncio
import contextlib
import subprocess
import sys
import time

import pytest

from beamhouse.engine.link.errors import RequestFailed
from beamhouse.schemas.words import ErrorCode, FinishType, ProblemCode, Stage
from beamhouse.server.admission import Gate
from beamhouse.server.app import create_app
from tests.fakes import FakeStream

pytestmark = pytest.mark.anyio


async def test_the_engine_starts_and_stops_with_the_application(engine, settings):
    app = create_app(engine, settings)
    async with app.router.lifespan_context(app):
        assert engine.calls == {"start": 1}
    assert engine.calls == {"start": 1, "stop": 1}


async def test_probes_tell_alive_from_ready(client, engine):
    assert (await client.get("/health")).json() == {"status": "ready", "stage": "ready", "share": 1.0, "error": None}
    engine.become("weights", 0.4)
    for path in ("/health", "/health/ready"):
        response = await client.get(path)
        assert response.status_code == 503
        assert (response.json()["stage"], response.json()["share"]) == ("weights", 0.4)
        assert int(response.headers["retry-after"]) >= 1
    assert (await client.get("/health/live")).json()["status"] == "alive"


async def test_requests_are_refused_until_the_model_is_ready(client, engine):
    engine.become("weights", 0.4)
    for path, body in (
        ("/generate", {"inputs": [3]}),
        ("/tokenize", {"inputs": "a"}),
        ("/score", {"pairs": [{"prompt": [3], "continuation": [4]}]}),
    ):
        response = await client.post(path, json=body)
        assert response.status_code == 503
        assert response.json()["code"] == "engine_unavailable"
        assert "retry-after" in response.headers


async def test_a_closed_gate_refuses_and_is_not_ready(client):
    client._transport.app.state.service.gate.close()
    assert (await client.post("/generate", json={"inputs": [3]})).status_code == 503
    assert (await client.get("/health/ready")).json()["stage"] == "stopping"


async def test_the_request_over_the_limit_is_refused_before_it_is_tokenised(connect, engine):
    client = await connect(max_requests=2)
    engine.gate.clear()
    running = [asyncio.create_task(client.post("/generate", json={"inputs": "ab"})) for _ in range(2)]
    while len(engine.submissions) < 2:
        await engine.changed.wait()
        engine.changed.clear()
    refused = await client.post("/generate", json={"inputs": "ab"})
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["retryable"] is True
    engine.gate.set()
    assert [response.status_code for response in await asyncio.gather(*running)] == [200, 200]
    assert (await client.post("/generate", json={"inputs": "ab"})).status_code == 200


async def test_failures_and_refusals_give_their_place_back(client, engine):
    engine.script = lambda submission: [RequestFailed("no")]
    for body in ({"inputs": [3]}, {"inputs": [3], "stream": True}, {"inputs": [999]}):
        await client.post("/generate", json=body)
    assert client._transport.app.state.service.gate.running == 0


async def test_many_requests_at_once_each_get_their_own_answer(client):
    async def one(token_id):
        body = {"inputs": [token_id], "generation_config": {"max_new_tokens": 3}}
        answer = (await client.post("/generate", json=body)).json()
        return answer["sequences"][0]["token_ids"]

    answers = await asyncio.gather(*(one(token_id) for token_id in range(60)))
    assert answers == [[n + 1, n + 2, n + 3] for n in range(60)]


def test_the_advised_wait_grows_with_the_backlog():
    gate = Gate(4)
    gate.mean_s = 3.0
    assert gate.retry_after_s() == 3
    gate.enter()
    assert gate.retry_after_s(waiting=4) == 15
    assert gate.retry_after_s(waiting=10_000) == 60


async def test_info_tells_what_is_served(client, engine):
    info = (await client.get("/info")).json()
    assert info["model"]["model_id"] == "tiny/bytes"
    assert "constrained_beam_search" in info["modes"]
    assert info["assistants"] == ["draft"]
    assert (info["limits"]["max_rows"], info["limits"]["max_beams"]) == (8, 6)
    engine.info = None
    engine.become("weights")
    assert (await client.get("/info")).json()["status"] == "weights"


async def test_the_defaults_in_force_and_stored_configurations_can_be_read(client):
    defaults = (await client.get("/generation_config")).json()
    assert defaults["generation_config"]["bos_token_id"] == 0
    assert defaults["mode"] == "greedy_search"
    assert defaults["stored"] == ["warm"]
    assert (await client.get("/generation_config/warm")).json()["temperature"] == 1.5
    assert (await client.get("/generation_config/cold")).status_code == 404
    response = await client.put("/generation_config/cold", json={})
    assert (response.status_code, response.json()["code"]) == (422, "not_supported")


async def test_a_configuration_can_be_checked_without_generating(client, engine):
    async def validate(config):
        return (await client.post("/generation_config/validate", json={"generation_config": config})).json()

    good = await validate({"do_sample": True, "max_new_tokens": 5})
    assert (good["is_valid"], good["mode"], good["generation_config"]["max_length"]) == (True, "sample", 6)
    beams = await validate({"num_beams": 4, "temperature": 0.5})
    assert (beams["is_valid"], beams["mode"]) == (True, "beam_search")
    assert beams["warnings"]
    unsupported = await validate({"use_mtp": True})
    assert (unsupported["is_valid"], unsupported["mode"]) == (False, "assisted_generation")
    assert unsupported["problems"][0]["code"] == "not_supported"
    wrong = await validate({"top_p": 1.5})
    assert [problem["pointer"] for problem in wrong["problems"]] == ["/generation_config/top_p"]
    assert (await validate("warm"))["mode"] == "sample"
    assert engine.submissions == []


async def test_documentation_needs_nothing_from_elsewhere(client):
    front = await client.get("/")
    assert (front.status_code, front.headers["location"]) == (307, "docs")
    page = await client.get("/docs")
    script = await client.get("/docs/docs.js")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert script.headers["content-type"].startswith("text/javascript")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for text in (page.text, script.text, (await client.get("/docs/docs.css")).text):
        assert "http://" not in text
        assert "https://" not in text
    assert (await client.get("/docs/app.py")).status_code == 404


@pytest.mark.parametrize("kind", [ErrorCode, ProblemCode, FinishType, Stage])
async def test_the_schema_lists_the_words_that_programs_read(client, kind):
    schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
    assert schemas[kind.__name__]["enum"] == [str(word) for word in kind]


async def test_the_schema_describes_every_field_of_the_body(client):
    schema = (await client.get("/openapi.json")).json()
    body = schema["paths"]["/generate"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["$ref"].endswith("/GenerateRequest")
    fields = schema["components"]["schemas"]
    assert fields["GenerationConfig"]["properties"]["top_p"]["description"]
    assert "done" in schema["paths"]["/generate"]["post"]["description"]
    assert "default" in schema["paths"]["/generate"]["post"]["responses"]


def test_the_server_does_not_import_torch():
    code = "import sys, beamhouse.server.app; print({'torch', 'transformers'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


async def test_deadlines_count_from_the_arrival_of_the_request(client, engine, encode):
    before = time.monotonic()
    bodies = {
        "/generate": {"inputs": "ab"},
        "/score": {"pairs": [{"prompt": "a", "continuation": "b"}]},
    }
    for path, body in bodies.items():
        assert (await client.post(path, json=body | {"deadline_s": 60})).status_code == 200
        assert before < engine.submissions[-1].arrived_at < time.monotonic()
        late = await client.post(path, json=body | {"deadline_s": 1e-6})
        assert (late.status_code, late.json()["code"]) == (504, "deadline_passed")
    assert len(engine.submissions) == 2
    healed = {"inputs": "ab", "deadline_s": 1e-6, "generation_config": {"token_healing": True}}
    assert (await client.post("/generate", json=healed)).status_code == 504
    engine.gate.clear()  # as of an engine that is stopped
    constrained = {"inputs": "ab", "deadline_s": 0.2, "prefix_allowed_tokens": {"regex": "a"}}
    assert (await client.post("/generate", json=constrained)).status_code == 504
    assert engine.calls["compile"] == 1


async def test_no_place_is_lost_whatever_breaks(client, engine):
    gate = client._transport.app.state.service.gate

    class Broken(FakeStream):
        def cancel(self):
            raise OSError("the socket is gone")

    def submit(submission):
        engine.submissions.append(submission)
        if len(engine.submissions) % 2 == 0:
            raise RuntimeError("the socket is closed")
        return Broken(engine, submission)

    engine.submit = submit
    for body in ({"inputs": ["a", "b"]}, {"inputs": ["a", "b"], "stream": True}):
        assert (await client.post("/generate", json=body)).status_code == 500
    engine.script = lambda submission: [RequestFailed("no")]
    for body in ({"inputs": "a"}, {"inputs": "a", "stream": True}):
        engine.submissions.clear()
        with contextlib.suppress(OSError):
            await client.post("/generate", json=body)
    assert gate.running == 0


async def test_head_answers_as_get_does_without_a_body(client, engine):
    for path in ("/health", "/health/live", "/health/ready", "/info", "/metrics", "/docs", "/openapi.json"):
        whole, head = await client.get(path), await client.head(path)
        assert (head.status_code, head.content) == (whole.status_code, b"")
        assert head.headers["content-type"] == whole.headers["content-type"]
    engine.become("weights", 0.4)
    assert (await client.head("/health/ready")).status_code == 503
    assert (await client.head("/nowhere")).status_code == 404
    assert (await client.head("/generate")).headers["allow"] == "OPTIONS, POST"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/health/live", "GET, HEAD, OPTIONS"),
        ("/generate", "OPTIONS, POST"),
        ("/generation_config/warm", "GET, HEAD, OPTIONS, PUT"),
        ("/generation_config/validate", "GET, HEAD, OPTIONS, POST, PUT"),
    ],
)
async def test_every_path_tells_its_methods(client, path, allowed):
    options = await client.options(path)
    assert (options.status_code, options.content, options.headers["allow"]) == (204, b"", allowed)
    wrong = await client.delete(path)
    assert (wrong.status_code, wrong.headers["allow"], wrong.json()["code"]) == (405, allowed, "method_not_allowed")


async def test_options_of_nothing_is_404(client):
    assert (await client.options("/nowhere")).status_code == 404
