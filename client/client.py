"""The client for code that waits for its answers."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, cast

import httpx

from beamhouse.client import calls
from beamhouse.client.calls import Call
from beamhouse.client.errors import AnswerBroken, BeamhouseError, problem_in, refusal
from beamhouse.client.shapes import answers as told
from beamhouse.client.shapes import fields as asked
from beamhouse.client.shapes import service
from beamhouse.client.shapes.events import Event
from beamhouse.client.wire import EventReader, Retries, broken, event_of, json_of, no_answer, waits_for

T = TypeVar("T")


class Client:
    """Talks to one server. Each method is a route; its keywords are the fields of the body.

    Every method raises Refused where the server says why there is no answer, NoAnswer where nobody answered, and
    AnswerBroken where an answer did not come to its end. transport: what sends requests in place of the network.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.retries = retries or Retries()
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=waits_for(timeout_s), transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; what still runs on the server ends."""
        self._http.close()

    def generate(
        self, inputs: asked.GenerateInputs | None = None, **fields: Unpack[asked.GenerateFields]
    ) -> told.Answer:
        """The whole answer to one prompt or several."""
        return self._ask(calls.generate(inputs, fields))

    def generate_safetensors(
        self, inputs: asked.GenerateInputs | None = None, **fields: Unpack[asked.GenerateFields]
    ) -> bytes:
        """The same as a file of the tensors that `output_scores` and the like ask for, the answer in its metadata."""
        return self._read(calls.generate_safetensors(inputs, fields))

    @contextmanager
    def stream(
        self, inputs: asked.GenerateInputs | None = None, **fields: Unpack[asked.GenerateFields]
    ) -> Iterator[Iterator[Event]]:
        """The events of an answer while they come, `done` last. Leaving the block before that cancels the request."""
        response = self._open(calls.stream(inputs, fields))
        try:
            yield _events(response)
        finally:
            response.close()

    def score(self, pairs: asked.ScorePairs, **fields: Unpack[asked.ScoreFields]) -> told.ScoreAnswer:
        """Log-probabilities of continuations under their prompts."""
        return self._ask(calls.score(pairs, fields))

    def tokenize(
        self, inputs: asked.TokenizeInputs | None = None, **fields: Unpack[asked.TokenizeFields]
    ) -> told.TokenizeAnswer:
        """The tokens of texts, or of `messages`."""
        return self._ask(calls.tokenize(inputs, fields))

    def detokenize(
        self, token_ids: asked.DetokenizeTokenIds, **fields: Unpack[asked.DetokenizeFields]
    ) -> told.DetokenizeAnswer:
        """The texts of token ids."""
        return self._ask(calls.detokenize(token_ids, fields))

    def detect_watermark(self, inputs: asked.DetectInputs, **fields: Unpack[asked.DetectFields]) -> told.DetectAnswer:
        """Whether texts are marked."""
        return self._ask(calls.detect_watermark(inputs, fields))

    def validate(
        self, generation_config: asked.ValidateGenerationConfig, **fields: Unpack[asked.ValidateFields]
    ) -> service.ValidateAnswer:
        """Which mode a configuration asks for, what it resolves to, and everything wrong with it."""
        return self._ask(calls.validate(generation_config, fields))

    def compute_transition_scores(
        self,
        sequences: asked.TransitionScoresSequences,
        scores: asked.TransitionScoresScores,
        **fields: Unpack[asked.TransitionScoresFields],
    ) -> told.TransitionScoresAnswer:
        """The library's function on what it returned."""
        return self._ask(calls.compute_transition_scores(sequences, scores, fields))

    def generation_config(self) -> service.DefaultsAnswer:
        """What holds where a request is silent."""
        return self._ask(calls.DEFAULTS)

    def info(self) -> service.SharedInfo:
        """What the server is and can do."""
        return self._ask(calls.INFO)

    def health(self) -> service.Health:
        """Whether requests are answered; a server that still loads is no error here."""
        return self._ask(calls.HEALTH)

    def _ask(self, call: Call[T]) -> T:
        return cast(T, json_of(self._read(call)))

    def _read(self, call: Call[Any]) -> bytes:
        response = self._open(call)
        try:
            return response.read()
        except httpx.HTTPError as error:
            raise broken(error) from error
        finally:
            response.close()

    def _open(self, call: Call[Any]) -> httpx.Response:
        """The answer with its head read and its body still to come; asks again before that only."""
        attempt = 0
        while True:
            attempt += 1
            failure = self._try(call)
            if isinstance(failure, httpx.Response):
                return failure
            wait_s = self.retries.wait_s(failure, attempt)
            if wait_s is None:
                raise failure
            time.sleep(wait_s)

    def _try(self, call: Call[Any]) -> httpx.Response | BeamhouseError:
        try:
            request = self._http.build_request(call.method, call.path, json=call.body)
            response = self._http.send(request, stream=True)
            if response.status_code in call.answers:
                return response
            problem = problem_in(response.status_code, response.read())
            return refusal(problem, response.headers.get("Retry-After"))
        except httpx.TransportError as error:
            return no_answer(error)


def _events(response: httpx.Response) -> Iterator[Event]:
    reader, is_done = EventReader(), False
    try:
        for piece in response.iter_bytes():
            for name, data in reader.feed(piece):
                event = event_of(name, data)
                if event is not None:
                    is_done = event["event"] == "done"
                    yield event
    except httpx.HTTPError as error:
        raise broken(error) from error
    if not is_done:
        raise AnswerBroken("the stream ended before its last event")
