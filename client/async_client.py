"""The client for asyncio."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
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


class AsyncClient:
    """What `Client` is, for asyncio: the same methods, awaited, raise the same."""

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.retries = retries or Retries()
        self._http = httpx.AsyncClient(
            base_url=base_url, headers=headers, timeout=waits_for(timeout_s), transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up; what still runs on the server ends."""
        await self._http.aclose()

    async def generate(
        self, inputs: asked.GenerateInputs | None = None, **fields: Unpack[asked.GenerateFields]
    ) -> told.Answer:
        """The whole answer to one prompt or several."""
        return await self._ask(calls.generate(inputs, fields))

    async def generate_safetensors(
        self, inputs: asked.GenerateInputs | None = None, **fields: Unpack[asked.GenerateFields]
    ) -> bytes:
        """The same as a file of the tensors that `output_scores` and the like ask for, the answer in its metadata."""
        return await self._read(calls.generate_safetensors(inputs, fields))

    @asynccontextmanager
    async def stream(
        self, inputs: asked.GenerateInputs | None = None, **fields: Unpack[asked.GenerateFields]
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """The events of an answer while they come, `done` last. Leaving the block before that cancels the request."""
        response = await self._open(calls.stream(inputs, fields))
        try:
            yield _events(response)
        finally:
            await response.aclose()

    async def score(self, pairs: asked.ScorePairs, **fields: Unpack[asked.ScoreFields]) -> told.ScoreAnswer:
        """Log-probabilities of continuations under their prompts."""
        return await self._ask(calls.score(pairs, fields))

    async def tokenize(
        self, inputs: asked.TokenizeInputs | None = None, **fields: Unpack[asked.TokenizeFields]
    ) -> told.TokenizeAnswer:
        """The tokens of texts, or of `messages`."""
        return await self._ask(calls.tokenize(inputs, fields))

    async def detokenize(
        self, token_ids: asked.DetokenizeTokenIds, **fields: Unpack[asked.DetokenizeFields]
    ) -> told.DetokenizeAnswer:
        """The texts of token ids."""
        return await self._ask(calls.detokenize(token_ids, fields))

    async def detect_watermark(
        self, inputs: asked.DetectInputs, **fields: Unpack[asked.DetectFields]
    ) -> told.DetectAnswer:
        """Whether texts are marked."""
        return await self._ask(calls.detect_watermark(inputs, fields))

    async def validate(
        self, generation_config: asked.ValidateGenerationConfig, **fields: Unpack[asked.ValidateFields]
    ) -> service.ValidateAnswer:
        """Which mode a configuration asks for, what it resolves to, and everything wrong with it."""
        return await self._ask(calls.validate(generation_config, fields))

    async def compute_transition_scores(
        self,
        sequences: asked.TransitionScoresSequences,
        scores: asked.TransitionScoresScores,
        **fields: Unpack[asked.TransitionScoresFields],
    ) -> told.TransitionScoresAnswer:
        """The library's function on what it returned."""
        return await self._ask(calls.compute_transition_scores(sequences, scores, fields))

    async def generation_config(self) -> service.DefaultsAnswer:
        """What holds where a request is silent."""
        return await self._ask(calls.DEFAULTS)

    async def info(self) -> service.SharedInfo:
        """What the server is and can do."""
        return await self._ask(calls.INFO)

    async def health(self) -> service.Health:
        """Whether requests are answered; a server that still loads is no error here."""
        return await self._ask(calls.HEALTH)

    async def _ask(self, call: Call[T]) -> T:
        return cast(T, json_of(await self._read(call)))

    async def _read(self, call: Call[Any]) -> bytes:
        response = await self._open(call)
        try:
            return await response.aread()
        except httpx.HTTPError as error:
            raise broken(error) from error
        finally:
            await response.aclose()

    async def _open(self, call: Call[Any]) -> httpx.Response:
        """The answer with its head read and its body still to come; asks again before that only."""
        attempt = 0
        while True:
            attempt += 1
            failure = await self._try(call)
            if isinstance(failure, httpx.Response):
                return failure
            wait_s = self.retries.wait_s(failure, attempt)
            if wait_s is None:
                raise failure
            await asyncio.sleep(wait_s)

    async def _try(self, call: Call[Any]) -> httpx.Response | BeamhouseError:
        try:
            request = self._http.build_request(call.method, call.path, json=call.body)
            response = await self._http.send(request, stream=True)
            if response.status_code in call.answers:
                return response
            problem = problem_in(response.status_code, await response.aread())
            return refusal(problem, response.headers.get("Retry-After"))
        except httpx.TransportError as error:
            return no_answer(error)


async def _events(response: httpx.Response) -> AsyncIterator[Event]:
    reader, is_done = EventReader(), False
    try:
        async for piece in response.aiter_bytes():
            for name, data in reader.feed(piece):
                event = event_of(name, data)
                if event is not None:
                    is_done = event["event"] == "done"
                    yield event
    except httpx.HTTPError as error:
        raise broken(error) from error
    if not is_done:
        raise AnswerBroken("the stream ended before its last event")
