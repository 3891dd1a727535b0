"""A process that answers as the engine does, without a model: tokens at a set pace, so that HTTP alone is measured.

    python -m benchmarks.fakes.engine STEP_MS     in place of `python -m beamhouse.engine`; 0: as fast as it can

Each step brings one token to every running request, with scores and likely tokens where they are asked for.
"""

import sys
import time
from dataclasses import dataclass

from beamhouse.config.settings import EngineSettings, ModelSettings
from beamhouse.engine.link.frames import Channel, take_standard_input
from beamhouse.engine.link.launch import decode_launch
from beamhouse.engine.link.messages import (
    Cancel,
    Compile,
    Compiled,
    Finished,
    FinishReason,
    Load,
    RequestOutputs,
    Shutdown,
    StepOutputs,
    Submission,
    Timings,
    Tokens,
    TopToken,
    decode_inbound,
    encode,
)
from beamhouse.engine.loading.files import BUILTIN_FILES
from beamhouse.schemas.model_info import ModelInfo, TokenizerSwitches
from beamhouse.schemas.words import FinishType

FIRST_ID, NUM_IDS = 300, 3700
FIELDS = ["do_sample", "max_length", "max_new_tokens", "min_length", "min_new_tokens", "num_return_sequences"]


@dataclass(slots=True)
class Running:
    """A request that gets tokens. arrived_at: seconds of the clock."""

    submission: Submission
    arrived_at: float
    num_generated: int = 0

    @property
    def num_new(self) -> int:
        return self.submission.config.max_length - len(self.submission.prompt_ids)

    def step(self) -> RequestOutputs:
        """The next token. Ids wander through the vocabulary, from another place in each request."""
        token_id = FIRST_ID + (self.submission.prompt_ids[-1] + 7 * self.num_generated) % NUM_IDS
        self.num_generated += 1
        wanted = self.submission.wanted
        gained = Tokens(
            0,
            [token_id],
            scores=[-0.4375 - self.num_generated / 1024] if wanted.transition_scores else [],
            top_tokens=[[TopToken(token_id, -0.4375)] * wanted.top_n_tokens] if wanted.top_n_tokens else [],
            finish_reason=FinishReason(FinishType.LENGTH) if self.num_generated == self.num_new else None,
        )
        return RequestOutputs(self.submission.request_id, [gained])


class FakeEngine:
    """The step loop. step_s: seconds from one step to the next."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.running: dict[str, Running] = {}
        self._next_at = 0.0

    def take(self, message: Submission | Cancel) -> None:
        if isinstance(message, Submission):
            self.running[message.request_id] = Running(message, time.monotonic())
            return
        for request_id in message.request_ids:
            self.running.pop(request_id, None)

    def wait(self) -> None:
        """Until the next step is due."""
        time.sleep(max(0.0, self._next_at - time.monotonic()))

    def step(self) -> StepOutputs:
        now = time.monotonic()
        self._next_at = max(now, self._next_at + self.step_s)
        requests = [request.step() for request in self.running.values()]
        over = [request for request in self.running.values() if request.num_generated >= request.num_new]
        finished = []
        for request in over:
            age = now - request.arrived_at
            finished.append(Finished(request.submission.request_id, Timings(0.0, 0.0, age, age)))
            del self.running[request.submission.request_id]
        return StepOutputs(requests, finished, Load(len(self.running), 0, len(requests), 0, 1))


def info(model: ModelSettings, engine: EngineSettings) -> ModelInfo:
    """What is told of the model: the built-in tokenizer, and as many rows as are wanted."""
    return ModelInfo(
        model_id=model.name,
        revision=None,
        model_type="fake",
        dtype="float32",
        device="cpu",
        num_parameters=0,
        vocab_size=FIRST_ID + NUM_IDS,
        context_len=1 << 20,
        generation_config={},
        tokenizer_file=str(BUILTIN_FILES / "tokenizer.json"),
        chat_template=None,
        special_tokens={},
        tokenizer_switches=TokenizerSwitches(),
        modes=["greedy_search", "sample"],
        fields=FIELDS,
        not_obeyed={},
        logits_processors=[],
        stopping_criteria=[],
        tries=[],
        num_layers=1,
        max_rows=engine.max_rows,
        cache_tokens=1 << 20,
        runner="fake",
        attention="fake",
    )


def main() -> None:
    channel = Channel(take_standard_input())
    launched = channel.listen(wait=True)
    assert launched, "the launch is smaller than a piece"
    launch = decode_launch(launched[0])
    channel.say(encode(info(ModelSettings.model_validate(launch.model), EngineSettings.model_validate(launch.engine))))
    serve(FakeEngine(float(sys.argv[1]) / 1e3), channel)
    channel.close()


def serve(engine: FakeEngine, channel: Channel) -> None:
    """Until told to shut down or left alone. What arrives between two steps is taken in at the next."""
    while (arrived := channel.listen(wait=not engine.running)) is not None:
        for message in map(decode_inbound, arrived):
            if isinstance(message, Shutdown):
                return
            if isinstance(message, Compile):
                channel.say(encode(Compiled(message.compile_id)))
            else:
                engine.take(message)
        if engine.running:
            engine.wait()
            channel.say(encode(engine.step()))


if __name__ == "__main__":
    main()
