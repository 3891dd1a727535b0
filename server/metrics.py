"""Prometheus metrics. Labels come from closed sets, so that no client can add a series."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from beamhouse.engine.link.messages import Load
from beamhouse.schemas.generation.modes import GenerationMode
from beamhouse.server.admission import TURNED_AWAY
from beamhouse.server.metric_aliases import Aliases

MODES = frozenset(mode.value for mode in GenerationMode)
UNKNOWN = "unknown"
COUNTED_PATHS = frozenset(
    {"/", "/generate", "/generate_stream", "/invocations", "/v1/completions", "/v1/chat/completions"}
)
LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
LENGTHS = tuple(float(2**power) for power in range(18))
DURATIONS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8; escaping=underscores"


class Metrics:
    """Counters and histograms of one application; gauges read the engine's load when they are scraped."""

    def __init__(self, load: Callable[[], Load], is_ready: Callable[[], bool], has_aliases: bool = False) -> None:
        """has_aliases: also tell the same under the names that TGI has for it."""
        self.registry = CollectorRegistry()
        self._registries = [self.registry]
        self.requests = Counter(
            "beamhouse_requests", "Generation requests that ended.", ["mode", "outcome"], registry=self.registry
        )
        self.prompt_tokens = self._counter("beamhouse_prompt_tokens", "Tokens of prompts.")
        self.generated_tokens = self._counter("beamhouse_generated_tokens", "Tokens generated.")
        self.first_token = self._histogram(
            "beamhouse_time_to_first_token_seconds", "From the arrival of a request to its first token.", LATENCIES
        )
        self.inter_token = self._histogram(
            "beamhouse_inter_token_latency_seconds", "Between two tokens of one sequence.", LATENCIES
        )
        self.queue = self._histogram(
            "beamhouse_queue_duration_seconds", "Wait of a prompt for its first step.", LATENCIES
        )
        self.duration = self._histogram(
            "beamhouse_request_duration_seconds", "From the arrival of a request to its end.", DURATIONS
        )
        self.inference = self._histogram(
            "beamhouse_inference_duration_seconds", "From the first step of a prompt to its end.", DURATIONS
        )
        self.prompt_length = self._histogram("beamhouse_prompt_length_tokens", "Tokens of each prompt.", LENGTHS)
        self.generated_length = self._histogram(
            "beamhouse_generated_length_tokens", "Tokens generated for each prompt.", LENGTHS
        )
        self._gauge("beamhouse_requests_running", "Prompts in the batch.", lambda: load().running_requests)
        self._gauge("beamhouse_requests_waiting", "Prompts waiting for a place.", lambda: load().waiting_requests)
        self._gauge("beamhouse_batch_rows", "Rows of the last step.", lambda: load().batch_rows)
        self._gauge("beamhouse_kv_cache_usage_ratio", "Share of the KV cache in use.", lambda: usage(load()))
        self._gauge("beamhouse_slow_steps", "Steps of this engine longer than a second.", lambda: load().slow_steps)
        self._gauge("beamhouse_ready", "1 while requests are answered.", is_ready)
        if has_aliases:
            aliases = CollectorRegistry()
            aliases.register(Aliases(self.registry))
            self._registries.append(aliases)

    def end(self, mode: str, outcome: str, duration_s: float) -> None:
        """Count a request that was accepted."""
        self.requests.labels(mode if mode in MODES else UNKNOWN, outcome).inc()
        self.duration.observe(duration_s)

    def refuse(self, path: str, status: int) -> None:
        """Count a request that never was; routes that do not generate are not counted."""
        if path in COUNTED_PATHS:
            self.requests.labels(UNKNOWN, outcome_of(status)).inc()

    def render(self) -> bytes:
        return b"".join(map(generate_latest, self._registries))

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name, text, registry=self.registry)

    def _histogram(self, name: str, text: str, limits: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, buckets=limits, registry=self.registry)

    def _gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        Gauge(name, text, registry=self.registry).set_function(read)


def usage(load: Load) -> float:
    return load.used_blocks / load.total_blocks if load.total_blocks else 0.0


def outcome_of(status: int) -> str:
    """The outcome that an HTTP status stands for."""
    if status in TURNED_AWAY:
        return "refused"
    if status == 504:
        return "deadline"
    return "failed" if status >= 500 else "invalid"
