"""The names that text-generation-inference gives to what is counted here: the same numbers, for its dashboards."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

HISTOGRAMS = {
    "tgi_request_duration": "beamhouse_request_duration_seconds",
    "tgi_request_queue_duration": "beamhouse_queue_duration_seconds",
    "tgi_request_inference_duration": "beamhouse_inference_duration_seconds",
    "tgi_request_mean_time_per_token_duration": "beamhouse_inter_token_latency_seconds",
    "tgi_request_input_length": "beamhouse_prompt_length_tokens",
    "tgi_request_generated_tokens": "beamhouse_generated_length_tokens",
}
GAUGES = {
    "tgi_queue_size": "beamhouse_requests_waiting",
    "tgi_batch_current_size": "beamhouse_requests_running",
}
FAILURES = {
    "refused": "overloaded",
    "deadline": "overloaded",
    "invalid": "validation",
    "failed": "generation",
    "cancelled": "dropped",
}
"""What TGI calls the outcomes of ours that are no answer."""


class Aliases(Collector):
    """What `ours` holds, under TGI's names. Its names have no endings for units and totals."""

    def __init__(self, ours: CollectorRegistry) -> None:
        self._ours = ours

    def collect(self) -> Iterator[Metric]:
        known = {metric.name: metric for metric in self._ours.collect()}
        for alias, name in HISTOGRAMS.items():
            yield renamed(known[name], alias)
        for alias, name in GAUGES.items():
            yield renamed(known[name], alias)
        yield from counted(known["beamhouse_requests"])


def renamed(metric: Metric, name: str) -> Metric:
    copied = Metric(name, metric.documentation, metric.type)
    for sample in metric.samples:
        if not sample.name.endswith("_created"):
            copied.add_sample(name + sample.name.removeprefix(metric.name), sample.labels, sample.value)
    return copied


def counted(requests: Metric) -> Iterator[Metric]:
    """All requests, those that were answered, and the others by what became of them."""
    by_outcome: dict[str, float] = {}
    for sample in requests.samples:
        if sample.name.endswith("_total"):
            outcome = sample.labels["outcome"]
            by_outcome[outcome] = by_outcome.get(outcome, 0.0) + sample.value
    failures: dict[str, float] = dict.fromkeys(FAILURES.values(), 0.0)
    for outcome, error in FAILURES.items():
        failures[error] += by_outcome.get(outcome, 0.0)
    yield plain("tgi_request_count", requests.documentation, {"": sum(by_outcome.values())})
    yield plain("tgi_request_success", "Generation requests that were answered.", {"": by_outcome.get("ok", 0.0)})
    yield plain("tgi_request_failure", "Generation requests without an answer.", failures)


def plain(name: str, text: str, values: Mapping[str, float]) -> Metric:
    """A count under exactly this name, by the label `err` where there is one."""
    metric = Metric(name, text, "unknown")
    for error, value in values.items():
        metric.add_sample(name, {"err": error} if error else {}, value)
    return metric
