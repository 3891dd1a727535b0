"""What the HTTP process and the engine process say to each other: plain data, encoded as msgpack, never pickled.

A submission is one prompt, that is, one `generate()` call on a batch of one. A request with several prompts is several
submissions. The engine answers with one `StepOutputs` per step, for all requests together.
"""

from typing import Any

import msgspec

from beamhouse.engine.link.config_wire import to_config, to_part, to_wire
from beamhouse.schemas.generation.resolved import Resolved
from beamhouse.schemas.model_info import ModelInfo
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.words import ErrorCode, FinishType, Stage


class Named(msgspec.Struct, frozen=True):
    """A registered logits processor or stopping criterion, and its arguments."""

    name: str
    args: dict[str, Any] = {}


class Constraint(msgspec.Struct, frozen=True, omit_defaults=True):
    """`prefix_allowed_tokens_fn` as data; exactly one of the fields before `whitespace` is set.

    json_schema: an object, or its JSON text, in which numbers of any size can travel. whitespace: in JSON, compact,
    single or free; None: what the schema itself says, else single.
    """

    token_ids: list[int] | None = None
    sequences: list[list[int]] | None = None
    trie: str | None = None
    regex: str | None = None
    json_schema: dict[str, Any] | str | None = None
    grammar: str | None = None
    whitespace: str | None = None

    @property
    def kind(self) -> str | None:
        """The field that is set, of those that describe text: regex, json_schema or grammar."""
        return next((name for name in ("regex", "json_schema", "grammar") if getattr(self, name) is not None), None)


class Wanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What to return beside the tokens. Tensors are named by the configuration's own `output_*` fields.

    normalize_logits: whether transition scores are log-probabilities over the processed scores; None: where these are
    logits they are, where a beam search adds them up they are what it added. raw: tell scores and likeliest tokens from
    the model's own logits, as `output_logits` has them. prompt_top_n_tokens: likeliest tokens at each position of the
    prompt. prompt_only: nothing is generated. progress: live hypotheses, step by step. positions: generated positions
    to keep of tensors (None: all). layers: layers to keep of hidden states and attentions (None: all; negative ones
    count from the last).
    """

    transition_scores: bool = False
    normalize_logits: bool | None = None
    top_n_tokens: int = 0
    raw: bool = False
    prompt_logprobs: bool = False
    prompt_top_n_tokens: int = 0
    prompt_only: bool = False
    progress: bool = False
    positions: list[int] | None = None
    layers: list[int] | None = None

    @property
    def reads_prompt(self) -> bool:
        """Whether something is told of every position of the prompt."""
        return self.prompt_logprobs or self.prompt_top_n_tokens > 0


class Submission(msgspec.Struct, tag=True, frozen=True, omit_defaults=True):
    """One prompt to continue, with every parameter already checked and resolved.

    prompt_ids: at least one token. seed: as `torch.manual_seed` takes it; None draws one. deadline_s: seconds it may
    wait for its first step. negative_prompt_ids: what guidance leads away from (None: the last token of the prompt),
    without the `num_negative_masked` positions before it that nothing attends to. is_streamed: whether somebody reads
    the tokens as they come; else they are told with the last of them. arrived_at: when the server began to read the
    request, in `time.monotonic()` seconds, which both processes share; None: when the engine reads it. shares: on the
    wire, what is left out because the submission before has it.
    """

    request_id: str
    prompt_ids: list[int]
    config: Resolved
    seed: int | None = None
    wanted: Wanted = Wanted()
    negative_prompt_ids: list[int] | None = None
    num_negative_masked: int = 0
    constraint: Constraint | None = None
    logits_processor: list[Named] = []
    stopping_criteria: list[Named] = []
    priority: int = 0
    deadline_s: float | None = None
    cache_salt: str = ""
    is_streamed: bool = True
    arrived_at: float | None = None
    shares: list[str] = []


class Compile(msgspec.Struct, tag=True, frozen=True):
    """Build what a constraint needs, beside the steps, and say in a `Compiled` what is wrong with it."""

    compile_id: int
    constraint: Constraint


class Cancel(msgspec.Struct, tag=True, frozen=True):
    """Stop these requests and say nothing more of them."""

    request_ids: list[str]


class Shutdown(msgspec.Struct, tag=True, frozen=True):
    """End the engine process."""


Inbound = Submission | Compile | Cancel | Shutdown


class FinishReason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a sequence ended, and the token, the string or the name of the criterion that ended it."""

    type: FinishType
    token_id: int | None = None
    stop_string: str | None = None
    name: str | None = None


class TopToken(msgspec.Struct, frozen=True, array_like=True):
    """One of the likeliest tokens of a position."""

    token_id: int
    logprob: float


class Ranking(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a hypothesis of a beam search came about. score: of the whole, as in `sequences_scores`.

    beam_indices: for each token, the row of its step that it was chosen from. scores, top_tokens: as in `Tokens`, but
    of all tokens of the sequence.
    """

    score: float
    beam_indices: list[int] = []
    scores: list[float | None] = []
    top_tokens: list[list[TopToken]] = []


class HypothesisUpdate(msgspec.Struct, frozen=True):
    """A live hypothesis of a beam search. token_ids: the generated ones. score: as it would be if it ended now."""

    token_ids: list[int]
    score: float


class Tokens(msgspec.Struct, omit_defaults=True):
    """What one sequence gained: in a step, or in several that are told together.

    sequence: 0 .. num_return_sequences - 1. scores: one transition score per token if asked (None stands for -inf).
    top_tokens: the likeliest tokens of each position if asked. ranking: of a beam search, with the last tokens.
    """

    sequence: int
    token_ids: list[int] = []
    scores: list[float | None] = []
    top_tokens: list[list[TopToken]] = []
    finish_reason: FinishReason | None = None
    ranking: Ranking | None = None

    @property
    def num_entries(self) -> int:
        """How much it is to read: its tokens, likeliest ones included."""
        ranked = self.ranking.top_tokens if self.ranking is not None else ()
        return len(self.token_ids) + sum(map(len, self.top_tokens)) + sum(map(len, ranked))

    def extend(self, later: "Tokens") -> None:
        """Take in what the sequence gained behind these."""
        self.token_ids += later.token_ids
        self.scores += later.scores
        self.top_tokens += later.top_tokens
        self.finish_reason, self.ranking = later.finish_reason, later.ranking


class RequestOutputs(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one request gained in a step. hypotheses: the live ones of a beam search, best first, if asked for."""

    request_id: str
    tokens: list[Tokens] = []
    hypotheses: list[HypothesisUpdate] = []


class TensorPiece(msgspec.Struct, frozen=True):
    """dtype: float32, float16, bfloat16 or int64; data: row-major little-endian bytes."""

    dtype: str
    shape: list[int]
    data: bytes


class LikelyTokens(msgspec.Struct, frozen=True):
    """The likeliest tokens behind each token of a prompt but its last, best first. Both (positions, n).

    token_ids: int64. logprobs: float32, of the model's own logits; -inf for what cannot come at all.
    """

    token_ids: TensorPiece
    logprobs: TensorPiece


class Timings(msgspec.Struct, frozen=True):
    """Seconds: waiting for the first step; from there to the first token; from there to the last; all together."""

    queue_s: float
    prefill_s: float
    decode_s: float
    total_s: float


class Finished(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last message of a request: all its sequences have ended. Or, with `error_code`, it failed.

    tensors: by name. `scores` and `logits`: (steps, rows, vocabulary). `hidden_states.<step>.<layer>`: (rows, tokens
    fed, width). `attentions.<step>.<layer>`: (rows, heads, tokens fed, tokens so far). Entries of a row past its end
    are NaN. prompt_logprobs: one per prompt token, the first None. prompt_top_tokens: if asked for. drafted_tokens,
    accepted_tokens: of assisted decoding. warnings: what came out otherwise than asked, in words. problems: of an
    invalid request.
    """

    request_id: str
    timings: Timings | None = None
    cached_prompt_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    warnings: list[str] = []
    tensors: dict[str, TensorPiece] = {}
    prompt_logprobs: list[float | None] = []
    prompt_top_tokens: LikelyTokens | None = None
    error_code: ErrorCode | None = None
    error: str | None = None
    problems: list[Problem] = []


class Load(msgspec.Struct, frozen=True):
    """How busy the engine is after a step; counts, not shares. slow_steps: that lasted longer than a second, so far."""

    running_requests: int = 0
    waiting_requests: int = 0
    batch_rows: int = 0
    used_blocks: int = 0
    total_blocks: int = 0
    preemptions: int = 0
    steps: int = 0
    slow_steps: int = 0


class StepOutputs(msgspec.Struct, tag=True, frozen=True):
    """All that became known in one step. step_s: how long it took."""

    requests: list[RequestOutputs] = []
    finished: list[Finished] = []
    load: Load = Load()
    step_s: float = 0.0


class Compiled(msgspec.Struct, tag=True, frozen=True):
    """The answer to a `Compile`; without problems, the constraint is ready for submissions that have an equal one."""

    compile_id: int
    problems: list[Problem] = []


class Loading(msgspec.Struct, tag=True, frozen=True):
    """Progress while the model loads. share: of the stage, 0 to 1."""

    stage: Stage
    share: float


class LoadFailed(msgspec.Struct, tag=True, frozen=True):
    """The model cannot be served; the process ends after this."""

    error: str


Outbound = StepOutputs | Compiled | Loading | ModelInfo | LoadFailed

encode = msgspec.msgpack.Encoder(enc_hook=to_wire).encode
decode_inbound = msgspec.msgpack.Decoder(Inbound, dec_hook=to_config, ext_hook=to_part).decode
decode_outbound = msgspec.msgpack.Decoder(Outbound).decode
