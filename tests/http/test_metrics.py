"""`GET /metrics`: what is counted, under our names and under those of TGI."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from beamhouse.engine.link.errors import RequestFailed
from beamhouse.server.metric_aliases import GAUGES, HISTOGRAMS
from tests.fakes import tokens_of

pytestmark = pytest.mark.anyio


def read_metrics(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_metrics_count_requests_tokens_and_latencies(client, engine):
    await client.post("/generate", json={"inputs": [3, 4], "generation_config": {"max_new_tokens": 3}})
    await client.post("/generate", json={"inputs": [3], "generation_config": {"do_sample": True}, "stream": True})
    await client.post("/generate", json={"inputs": [999]})
    await client.post("/generate", content=b"{", headers={"content-type": "application/json"})
    engine.script = lambda submission: [*tokens_of(submission, [5], [6])[:1], RequestFailed("no")]
    await client.post("/generate", json={"inputs": [3]})
    values = read_metrics((await client.get("/metrics")).text)
    assert values["beamhouse_requests_total", "greedy_search", "ok"] == 1
    assert values["beamhouse_requests_total", "sample", "ok"] == 1
    assert values["beamhouse_requests_total", "greedy_search", "failed"] == 1
    assert values["beamhouse_requests_total", "unknown", "invalid"] == 2
    assert values["beamhouse_prompt_tokens_total",] == 4
    assert values["beamhouse_generated_tokens_total",] == 3 + 20 + 1
    # Of an answer that is not streamed the engine's last message tells, and the one that failed had none.
    assert values["beamhouse_time_to_first_token_seconds_count",] == 2
    assert values["beamhouse_inter_token_latency_seconds_count",] == 2 + 19
    assert values["beamhouse_queue_duration_seconds_sum",] == 0.5
    assert values["beamhouse_request_duration_seconds_count",] == 3
    assert values["beamhouse_requests_running",] == 2
    assert values["beamhouse_requests_waiting",] == 3
    assert values["beamhouse_batch_rows",] == 4
    assert values["beamhouse_kv_cache_usage_ratio",] == 0.25
    assert values["beamhouse_slow_steps",] == 7
    assert values["beamhouse_ready",] == 1


async def test_metrics_have_the_names_of_tgi_where_that_is_asked_for(connect, engine, client):
    assert "tgi_" not in (await client.get("/metrics")).text
    client = await connect(tgi_compat=True)
    await client.post("/generate", json={"inputs": [3, 4], "generation_config": {"max_new_tokens": 3}})
    await client.post("/generate", json={"inputs": [999]})
    engine.script = lambda submission: [RequestFailed("no")]
    await client.post("/generate", json={"inputs": [3]})
    values = read_metrics((await client.get("/metrics")).text)
    assert (values["tgi_request_count",], values["tgi_request_success",]) == (3, 1)
    failures = {name[1]: value for name, value in values.items() if name[0] == "tgi_request_failure"}
    assert failures == {"overloaded": 0, "validation": 1, "generation": 1, "dropped": 0}
    for alias, name in {**HISTOGRAMS, **GAUGES}.items():
        ends = ("_sum", "_count", "_bucket") if alias in HISTOGRAMS else ("",)
        for end in ends:
            ours = {key[1:]: value for key, value in values.items() if key[0] == name + end}
            assert ours == {key[1:]: value for key, value in values.items() if key[0] == alias + end} != {}
    assert values["tgi_request_generated_tokens_sum",] == 3
    assert values["tgi_request_input_length_sum",] == 2 + 1
    assert values["tgi_request_inference_duration_sum",] == 1.5
