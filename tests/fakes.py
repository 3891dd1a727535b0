"""Stand-ins at the border of a process: an engine whose tokens are scripted."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from beamhouse.engine.link.client import EngineStatus
from beamhouse.engine.link.errors import EngineError, EngineUnavailable
from beamhouse.engine.link.messages import (
    Constraint,
    Finished,
    FinishReason,
    HypothesisUpdate,
    LikelyTokens,
    Load,
    Ranking,
    RequestOutputs,
    Submission,
    TensorPiece,
    Timings,
    Tokens,
    TopToken,
)
from beamhouse.engine.loop.obeyed_fields import NOT_OBEYED, OBEYED
from beamhouse.schemas.generation.modes import GenerationMode
from beamhouse.schemas.model_info import ModelInfo, TokenizerSwitches
from beamhouse.schemas.words import FinishType, Stage

Said = Tokens | RequestOutputs | EngineError
Script = Callable[[Submission], list[Said]]


def tokens_of(submission: Submission, *steps: list[int]) -> list[Said]:
    """Steps of one sequence, the last of which ends it by length."""
    return [
        Tokens(
            sequence=0,
            token_ids=step,
            finish_reason=FinishReason(FinishType.LENGTH) if step is steps[-1] else None,
        )
        for step in steps
    ]


def count_up(submission: Submission) -> list[Said]:
    """Each sequence continues with the ids after its last prompt token, up to `max_length`."""
    config, wanted = submission.config, submission.wanted
    num_new = config.max_length - len(submission.prompt_ids)
    if wanted.prompt_only:
        return [
            Tokens(row, finish_reason=FinishReason(FinishType.LENGTH)) for row in range(config.num_return_sequences)
        ]
    return [
        Tokens(
            sequence=row,
            token_ids=[token_id],
            scores=[-0.5 - step] if wanted.transition_scores else [],
            top_tokens=[top_tokens(token_id, wanted.top_n_tokens)] if wanted.top_n_tokens else [],
            finish_reason=FinishReason(FinishType.LENGTH) if step == num_new - 1 else None,
        )
        for step in range(num_new)
        for row in range(config.num_return_sequences)
        for token_id in [(submission.prompt_ids[-1] + 1 + step + row) % 256]
    ]


def search(submission: Submission) -> list[Said]:
    """A beam search whose hypotheses agree on the ids after the prompt, one a step, and differ in the last one."""
    config, wanted = submission.config, submission.wanted
    num_new, rows = config.max_length - len(submission.prompt_ids), config.num_return_sequences
    first = submission.prompt_ids[-1] + 1
    messages: list[Said] = []
    for step in range(num_new - 1):
        messages += [Tokens(row, [first + step]) for row in range(rows)]
        if wanted.progress:
            hypotheses = [
                HypothesisUpdate([*range(first, first + step + 1), 98 + beam], -float(beam)) for beam in (0, 1)
            ]
            messages.append(RequestOutputs(submission.request_id, hypotheses=hypotheses))
    for row in range(rows):
        last = first + num_new - 1 + row
        ranking = Ranking(
            score=-0.25 - row,
            beam_indices=[0] * num_new,
            scores=[-0.5 - step for step in range(num_new)] if wanted.transition_scores else [],
            top_tokens=[top_tokens(last, wanted.top_n_tokens)] * num_new if wanted.top_n_tokens else [],
        )
        reason = FinishReason(FinishType.LENGTH)
        messages.append(Tokens(row, [last], finish_reason=reason, ranking=ranking))
    return messages


def top_tokens(token_id: int, number: int) -> list[TopToken]:
    likely = [TopToken(token_id, -0.5), TopToken((token_id + 1) % 256, float("-inf"))]
    return (likely * number)[:number]


READY = EngineStatus(Stage.READY, 1.0)
BUSY = Load(running_requests=2, waiting_requests=3, batch_rows=4, used_blocks=1, total_blocks=4, slow_steps=7)


class FakeStream:
    """Plays a script; waits for the engine's `gate` before each message."""

    def __init__(self, engine: "FakeEngine", submission: Submission) -> None:
        self.engine, self.submission = engine, submission
        self.finished: Finished | None = None
        self.is_over = False

    async def __aiter__(self) -> AsyncIterator[list[RequestOutputs]]:
        script = self.engine.script(self.submission)
        if self.engine.together:
            yield [self._outputs(message) for message in script if not isinstance(message, EngineError)]
            script = []
        for message in script:
            await self.engine.gate.wait()
            if isinstance(message, EngineError):
                self.is_over = True
                raise message
            yield [self._outputs(message)]
            await asyncio.sleep(0)
        self.finished = self.engine.finish(self.submission)
        self.is_over = True

    def _outputs(self, message: Tokens | RequestOutputs) -> RequestOutputs:
        return RequestOutputs(self.submission.request_id, [message]) if isinstance(message, Tokens) else message

    def cancel(self) -> None:
        if not self.is_over:
            self.is_over = True
            self.engine.cancelled.append(self.submission.request_id)
            self.engine.changed.set()


@dataclass
class FakeEngine:
    """The engine as the application sees it.

    gate: cleared, it holds streams and compilations. together: all that a script says comes at once. cancelled: ids of
    submissions whose readers left. changed: set whenever something is submitted or cancelled.
    """

    info: ModelInfo | None
    script: Script = count_up
    status: EngineStatus = READY
    load: Load = BUSY
    refusal: EngineError | None = None
    submissions: list[Submission] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    together: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    calls: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.gate.set()

    async def start(self) -> None:
        self.calls["start"] += 1

    async def stop(self) -> None:
        self.calls["stop"] += 1

    async def compile(self, constraint: Constraint) -> None:
        self.calls["compile"] += 1
        await self.gate.wait()
        if self.refusal is not None:
            raise self.refusal

    def submit(self, submission: Submission) -> FakeStream:
        if not self.status.is_ready:
            raise EngineUnavailable(self.status.stage)
        if self.refusal is not None:
            raise self.refusal
        self.submissions.append(submission)
        self.changed.set()
        return FakeStream(self, submission)

    def become(self, stage: str, share: float = 0.0) -> None:
        self.status = EngineStatus(stage, share)

    def finish(self, submission: Submission) -> Finished:
        rows, vocab_size = submission.config.num_return_sequences, 256
        num_steps = submission.config.max_length - len(submission.prompt_ids)
        tensors = {}
        if submission.config.output_scores:
            scores = np.zeros((num_steps, rows, vocab_size), dtype="<f4")
            scores[:, :, 1], scores[:, :, 2] = -np.inf, np.nan
            tensors["scores"] = TensorPiece("float32", list(scores.shape), scores.tobytes())
        count = len(submission.prompt_ids)
        return Finished(
            request_id=submission.request_id,
            timings=Timings(queue_s=0.25, prefill_s=0.5, decode_s=1.0, total_s=1.75),
            cached_prompt_tokens=1,
            drafted_tokens=4 if submission.config.assistant_model else 0,
            accepted_tokens=3 if submission.config.assistant_model else 0,
            tensors=tensors,
            prompt_logprobs=[None, *(-float(n) for n in range(1, count))] if submission.wanted.prompt_logprobs else [],
            prompt_top_tokens=likely_tokens(count - 1, submission.wanted.prompt_top_n_tokens),
        )


def likely_tokens(num_positions: int, width: int) -> LikelyTokens | None:
    """Behind each token of a prompt first `a`, then `b`, ...; what comes third cannot come at all."""
    if not width:
        return None
    ids = np.tile(np.arange(64, 64 + width, dtype="<i8"), (num_positions, 1))
    logprobs = np.tile(-np.arange(1, 1 + width, dtype="<f4"), (num_positions, 1))
    logprobs[:, 2:] = -np.inf
    shape = [num_positions, width]
    return LikelyTokens(TensorPiece("int64", shape, ids.tobytes()), TensorPiece("float32", shape, logprobs.tobytes()))


def save_byte_tokenizer(directory: Path) -> str:
    """The file of a tokenizer with one token for each byte."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(directory / "tokenizer.json"))
    return str(directory / "tokenizer.json")


def fake_info(tokenizer_file: str | None, **changes: object) -> ModelInfo:
    """A model of 256 byte tokens; `changes` replace fields."""
    fields: dict[str, object] = {
        "model_id": "tiny/bytes",
        "revision": None,
        "model_type": "llama",
        "dtype": "float32",
        "device": "cpu",
        "num_parameters": 1000,
        "vocab_size": 256,
        "context_len": 128,
        "generation_config": {"bos_token_id": 0, "eos_token_id": 1},
        "tokenizer_file": tokenizer_file,
        "chat_template": "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}",
        "special_tokens": {},
        "tokenizer_switches": TokenizerSwitches(),
        "modes": [mode.value for mode in GenerationMode],
        "fields": sorted(OBEYED),
        "not_obeyed": NOT_OBEYED,
        "logits_processors": ["no_repeat_words"],
        "stopping_criteria": ["at_newline"],
        "tries": ["cities"],
        "num_layers": 2,
        "max_rows": 8,
        "max_beams": 6,
        "assistants": {"draft": {"num_assistant_tokens": 7, "assistant_confidence_threshold": 0.25}},
        "cache_tokens": 1024,
        "runner": "packed",
        "attention": "sdpa",
        "hidden_size": 16,
        "num_heads": 2,
    }
    return ModelInfo(**{**fields, **changes})  # type: ignore[arg-type]  # the types of `changes` are the caller's
