"""The path of a generation request through this process: admit, tokenise, judge, heal, submit."""

import time
from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import TypeVar

import anyio
import structlog
from msgspec import structs

from beamhouse.engine.link.errors import DeadlinePassed
from beamhouse.engine.link.messages import Submission
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.judge.asked import Asked, Prompt
from beamhouse.schemas.judge.budget_items import num_items
from beamhouse.server.answering.run import Run
from beamhouse.server.asking.force_words import with_force_words
from beamhouse.server.asking.negative_prompts import with_negative_prompts
from beamhouse.server.asking.prompts import copied, read_prompts
from beamhouse.server.asking.stored_configs import stored_config
from beamhouse.server.asking.translate import AcceptedRequest, accept, healing_submission, judged
from beamhouse.server.asking.translated import in_given_names
from beamhouse.server.service import Model, Service, TokenStream

MANY_ITEMS = 4096
"""Token ids and phrases of a configuration that are not looked through on the event loop."""
Result = TypeVar("Result")
log = structlog.get_logger()


async def start(service: Service, body: GenerateRequest, arrived_at: float, request_id: str = "") -> Run:
    """Hand a request to the engine. The caller closes the run. Raises EngineError before anything is computed.

    arrived_at: when the request came, in `time.monotonic()` seconds; its deadline counts from there.
    """
    place = service.gate.enter()
    try:
        model = await service.model()
        with in_given_names(body.given_names):
            accepted = await prepare_in_time(service, model, body, arrived_at)
        streams = submit_all(service, accepted.submissions, arrived_at)
        run = Run(service, model, accepted, streams, place, request_id)
    except BaseException:
        place.leave()
        raise
    service.metrics.prompt_tokens.inc(accepted.num_prompt_tokens)
    for submission in accepted.submissions:
        service.metrics.prompt_length.observe(len(submission.prompt_ids))
    log.info(
        "request accepted",
        id=accepted.id,
        mode=accepted.config.mode,
        prompts=len(accepted.submissions),
        prompt_tokens=accepted.num_prompt_tokens,
    )
    return run


async def prepare_in_time(service: Service, model: Model, body: GenerateRequest, arrived_at: float) -> AcceptedRequest:
    """As `prepare`, which may wait for threads and for the engine. Raises DeadlinePassed, too."""
    left_s = inf if body.deadline_s is None else body.deadline_s - (time.monotonic() - arrived_at)
    with anyio.move_on_after(left_s):
        return await prepare(service, model, body, arrived_at)
    raise DeadlinePassed.after(time.monotonic() - arrived_at, body.deadline_s or 0.0)


async def prepare(service: Service, model: Model, body: GenerateRequest, arrived_at: float) -> AcceptedRequest:
    """Judge a request and make it ready. Raises InvalidRequest, and what a submission that heals a prompt may meet."""
    own = await with_force_words(service, model, body, await own_config(service, body))
    bos_token_id = own.bos_token_id if own.bos_token_id is not None else model.config.bos_token_id
    prompts = await read_prompts(service, model, body, bos_token_id)
    prompts = copied(service, await with_negative_prompts(service, model, body, prompts), body.copies)

    def checked() -> Asked:
        return judged(body, own, prompts, model)

    asked = await looked_through(service, own, checked)
    if asked.config.token_healing:
        prompts = [await heal(service, model, body, prompt, arrived_at) for prompt in prompts]
        asked = await looked_through(service, own, checked)  # lengths count from the healed prompts
    accepted = await looked_through(service, own, lambda: accept(asked, model))
    if accepted.constraint is not None:
        await service.client.compile(accepted.constraint)
    return accepted


async def looked_through(service: Service, own: GenerationConfig, work: Callable[[], Result]) -> Result:
    """The result of `work`; where there is much in a configuration to look through, from a worker thread."""
    if sum(num_items(own).values()) < MANY_ITEMS:
        return work()
    return await anyio.to_thread.run_sync(work, limiter=service.limiter)


async def own_config(service: Service, body: GenerateRequest) -> GenerationConfig:
    """The configuration that came with a request, or the stored one that it names."""
    match body.generation_config:
        case str() as name:
            return await stored_config(service, name)
        case GenerationConfig() as config:
            return config
        case _:
            return GenerationConfig()


async def heal(service: Service, model: Model, body: GenerateRequest, prompt: Prompt, arrived_at: float) -> Prompt:
    """A prompt with its last token chosen anew.

    Healing is a request of its own: one greedy token under a bias for the tokens that extend the cut text. The answer's
    `token_ids` are those after the healed prompt.
    """
    text = model.text
    assert text is not None, "judged before"
    healing = await anyio.to_thread.run_sync(text.heal, prompt.token_ids, limiter=service.limiter)
    # A tokenizer may have more tokens than the model.
    bias = [(ids, weight) for ids, weight in healing.sequence_bias if max(ids) < model.info.vocab_size]
    if not bias:
        return replace(prompt, token_ids=healing.kept_ids or prompt.token_ids)
    submission = healing_submission(body, healing.prompt_ids, bias)
    token_ids = await collect(submit_all(service, [submission], arrived_at)[0])
    return replace(prompt, token_ids=[*healing.kept_ids, *token_ids])


async def collect(stream: TokenStream) -> list[int]:
    """The tokens of a submission with one sequence."""
    try:
        gained = [tokens async for arrived in stream for outputs in arrived for tokens in outputs.tokens]
        return [token_id for tokens in gained for token_id in tokens.token_ids]
    finally:
        stream.cancel()


def submit_all(service: Service, submissions: list[Submission], arrived_at: float) -> list[TokenStream]:
    """Hand all submissions of a request over, or none. Raises DeadlinePassed if it has waited too long already."""
    streams: list[TokenStream] = []
    waited_s = time.monotonic() - arrived_at
    try:
        for item in submissions:
            if item.deadline_s is not None and waited_s > item.deadline_s:
                raise DeadlinePassed.after(waited_s, item.deadline_s)
            streams.append(service.client.submit(structs.replace(item, arrived_at=arrived_at)))
    except BaseException:
        for stream in streams:
            stream.cancel()
        raise
    return streams
