"""The path of a generation request through this process: admit, tokenise, check, heal, submit."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TypeVar

import anyio
import structlog
from msgspec import structs
from pydantic import ValidationError

from beamhouse.engine.link.errors import DeadlinePassed, invalid
from beamhouse.engine.link.messages import Submission
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.judge.asked import Asked, Prompt
from beamhouse.schemas.judge.budget_items import num_items
from beamhouse.schemas.problems import MAX_SHOWN
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.answering.run import Run
from beamhouse.server.asking.force_words import with_force_words
from beamhouse.server.asking.negative_prompts import with_negative_prompts
from beamhouse.server.asking.prompts import read_prompts
from beamhouse.server.asking.translate import AcceptedRequest, healing_submission, judged, make_plan
from beamhouse.server.edge.errors import Refused
from beamhouse.server.edge.strict_json import parse_json
from beamhouse.server.service import Model, Service, TokenStream

MANY_ITEMS = 4096
"""Token ids and phrases of a configuration that are not looked through on the event loop."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
Result = TypeVar("Result")
log = structlog.get_logger()


async def start(service: Service, body: GenerateRequest, arrived_at: float, request_id: str = "") -> Run:
    """Hand a request to the engine. The caller closes the run. Raises EngineError before anything is computed.

    arrived_at: when the request came, in `time.monotonic()` seconds; its deadline counts from there.
    """
    place = service.gate.enter()
    try:
        model = await service.model()
        plan = await prepare_in_time(service, model, body, arrived_at)
        streams = submit_all(service, plan.submissions, arrived_at)
        run = Run(service, model, plan, streams, place, request_id)
    except BaseException:
        place.leave()
        raise
    service.metrics.prompt_tokens.inc(plan.num_prompt_tokens)
    log.info(
        "request accepted",
        id=plan.id,
        mode=plan.config.mode,
        prompts=len(plan.submissions),
        prompt_tokens=plan.num_prompt_tokens,
    )
    return run


async def prepare_in_time(service: Service, model: Model, body: GenerateRequest, arrived_at: float) -> AcceptedRequest:
    """As `prepare`, which may wait for threads and for the engine. Raises DeadlinePassed, too."""
    left_s = inf if body.deadline_s is None else body.deadline_s - (time.monotonic() - arrived_at)
    with anyio.move_on_after(left_s):
        return await prepare(service, model, body, arrived_at)
    raise DeadlinePassed.after(time.monotonic() - arrived_at, body.deadline_s or 0.0)


async def prepare(service: Service, model: Model, body: GenerateRequest, arrived_at: float) -> AcceptedRequest:
    """The checked plan of a request. Raises InvalidRequest, and what a submission that heals its prompt may meet."""
    own = await with_force_words(service, model, body, await own_config(service, body))
    bos_token_id = own.bos_token_id if own.bos_token_id is not None else model.config.bos_token_id
    prompts = await read_prompts(service, model, body, bos_token_id)
    prompts = await with_negative_prompts(service, model, body, prompts)

    def checked() -> Asked:
        return judged(body, own, prompts, model)

    asked = await looked_through(service, own, checked)
    if asked.config.token_healing:
        prompts = [await heal(service, model, body, prompt, arrived_at) for prompt in prompts]
        asked = await looked_through(service, own, checked)  # lengths count from the healed prompts
    plan = await looked_through(service, own, lambda: make_plan(asked, model))
    if plan.constraint is not None:
        await service.client.compile(plan.constraint)
    return plan


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


async def stored_config(service: Service, name: str) -> GenerationConfig:
    """A configuration stored on the server. Raises InvalidRequest if there is none of that name."""
    directory = service.settings.server.stored_configs
    path = directory / f"{name}.json" if directory is not None and NAME.fullmatch(name) else None
    content = await anyio.to_thread.run_sync(read_file, path)
    if content is None:
        known = ", ".join(await stored_names(service)) or "none"
        message = f"no configuration is stored under {name[:MAX_SHOWN]}; known: {known}"
        raise invalid("generation_config", ProblemCode.UNKNOWN_NAME, message)
    try:
        return GenerationConfig.model_validate(parse_json(content)).without_origin()
    except (ValidationError, Refused):
        message = f"the configuration stored under {name} is broken; the server's operator must repair it"
        raise invalid("generation_config", ProblemCode.BROKEN_CONFIG, message) from None


async def stored_names(service: Service) -> list[str]:
    """Names of the stored configurations, sorted."""
    directory = service.settings.server.stored_configs
    if directory is None:
        return []
    return await anyio.to_thread.run_sync(lambda: sorted(path.stem for path in directory.glob("*.json")))


def read_file(path: Path | None) -> bytes | None:
    return path.read_bytes() if path is not None and path.is_file() else None


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
