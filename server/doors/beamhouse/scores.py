"""`POST /score` and `POST /compute_transition_scores`."""

import uuid

import anyio
from fastapi import APIRouter

from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.engine.link.messages import Finished, Submission
from beamhouse.schemas.beamhouse.answers import Usage
from beamhouse.schemas.beamhouse.generate import GenerateRequest, Outputs
from beamhouse.schemas.beamhouse.scores import (
    ContinuationScore,
    ScoreAnswer,
    ScorePair,
    ScoreRequest,
    TransitionScoresAnswer,
    TransitionScoresRequest,
)
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.judge.asked import Prompt
from beamhouse.schemas.judge.name_rules import ids_outside
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.answering.run import merge_streams
from beamhouse.server.answering.start import submit_all
from beamhouse.server.answering.transitions import transition_scores
from beamhouse.server.asking.prompts import check_number, encode, start_ids
from beamhouse.server.asking.translate import carried, judged, make_submissions
from beamhouse.server.edge.document import examples
from beamhouse.server.edge.hang_up import unless_gone
from beamhouse.server.edge.strict_json import Served, StrictRequest, StrictRoute
from beamhouse.server.service import Model, Service

router = APIRouter(route_class=StrictRoute, tags=["scores"])
SCORE_EXAMPLES = examples(a_word={"pairs": [{"prompt": "Once upon a", "continuation": " time"}]})
TRANSITION_EXAMPLES = examples(
    one_step={"sequences": [[5, 1]], "scores": [[[0.5, 1.5]]], "normalize_logits": True},
)


@router.post("/score", openapi_extra=SCORE_EXAMPLES)
async def score(body: ScoreRequest, request: StrictRequest, service: Served) -> ScoreAnswer:
    """Log-probabilities of given continuations under given prompts, token by token and summed."""
    with service.gate.entered():
        return await unless_gone(request, score_pairs(service, body, request.arrived_at))


@router.post("/compute_transition_scores", openapi_extra=TRANSITION_EXAMPLES)
async def compute_transition_scores(body: TransitionScoresRequest, service: Served) -> TransitionScoresAnswer:
    """The library's function on supplied sequences, scores and beam indices; needs no model."""
    with service.gate.entered():
        rows = await anyio.to_thread.run_sync(transition_scores, body, limiter=service.limiter)
        return TransitionScoresAnswer(transition_scores=rows)


async def score_pairs(service: Service, body: ScoreRequest, arrived_at: float) -> ScoreAnswer:
    """Each pair is a prompt of both texts, behind which nothing is generated."""
    model = await service.model()
    check_number(service, len(body.pairs), "pairs")
    answer_id = f"score-{uuid.uuid4().hex}"
    tokens = [await read_pair(service, model, pair, f"pairs.{index}") for index, pair in enumerate(body.pairs)]
    prompts = [
        Prompt([*prompt, *continuation], f"pairs.{index}") for index, (prompt, continuation) in enumerate(tokens)
    ]
    request = GenerateRequest(outputs=Outputs(prompt_only=True, prompt_logprobs=True), **carried(body))
    submissions = make_submissions(judged(request, GenerationConfig(), prompts, model), answer_id)
    finished = await finish_all(service, submissions, arrived_at)
    return ScoreAnswer(
        id=answer_id,
        model=model.info.model_id,
        scores=[
            continuation_score(prompt, continuation, message)
            for (prompt, continuation), message in zip(tokens, finished, strict=True)
        ],
        usage=Usage(
            prompt_tokens=sum(len(item.prompt_ids) for item in submissions),
            generated_tokens=0,
            cached_prompt_tokens=sum(message.cached_prompt_tokens for message in finished),
        ),
    )


async def read_pair(service: Service, model: Model, pair: ScorePair, field: str) -> tuple[list[int], list[int]]:
    """Token ids of a prompt and of its continuation, neither empty."""
    if pair.prompt is None:
        prompt = start_ids(model.config.bos_token_id)
    elif isinstance(pair.prompt, str):
        prompt = (await encode(service, model, {f"{field}.prompt": pair.prompt}))[0]
    else:
        prompt = pair.prompt
    if isinstance(pair.continuation, str):
        texts = {f"{field}.continuation": pair.continuation}
        continuation = (await encode(service, model, texts, add_special_tokens=False))[0]
    else:
        continuation = pair.continuation
    parts = (("prompt", prompt), ("continuation", continuation))
    vocab_size = model.info.vocab_size
    found = [problem for name, ids in parts for problem in ids_outside(ids, f"{field}.{name}", vocab_size)]
    found += [Problem(f"{field}.{name}", ProblemCode.EMPTY, f"{name} has no tokens") for name, ids in parts if not ids]
    if found:
        raise InvalidRequest(found)
    return prompt, continuation


async def finish_all(service: Service, submissions: list[Submission], arrived_at: float) -> list[Finished]:
    """The last message of every submission, in order."""
    streams = submit_all(service, submissions, arrived_at)
    try:
        async for _ in merge_streams(streams):
            pass
        return [stream.finished for stream in streams if stream.finished is not None]
    finally:
        for stream in streams:
            stream.cancel()


def continuation_score(prompt: list[int], continuation: list[int], message: Finished) -> ContinuationScore:
    logprobs = message.prompt_logprobs[len(prompt) :]
    known = [value for value in logprobs if value is not None]
    return ContinuationScore(
        prompt_tokens=len(prompt),
        token_ids=continuation,
        logprobs=logprobs,
        sum=sum(known) if len(known) == len(logprobs) else None,
    )
