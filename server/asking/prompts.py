"""From `inputs` or `messages` to token ids."""

import anyio

from beamhouse.engine.link.errors import InvalidRequest, invalid
from beamhouse.schemas.beamhouse.body import Inputs, Message
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.judge.asked import Prompt
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.service import Model, Service


async def read_prompts(service: Service, model: Model, body: GenerateRequest, bos_token_id: int | None) -> list[Prompt]:
    """All prompts of a request, at least one, none empty. Raises InvalidRequest."""
    if body.inputs is not None:
        prompts = await read_inputs(service, model, body.inputs)
    elif body.messages is not None:
        prompts = [Prompt(await encode_chat(service, model, body.messages), "messages")]
    else:
        prompts = [Prompt(start_ids(bos_token_id), "inputs")]
    check_filled(prompts)
    return prompts


async def read_inputs(service: Service, model: Model, inputs: Inputs, add_special_tokens: bool = True) -> list[Prompt]:
    """The tokens of everything that `inputs` holds, some of them perhaps empty. Raises InvalidRequest."""
    if isinstance(inputs, str):
        return [Prompt((await encode(service, model, {"inputs": inputs}, add_special_tokens))[0], "inputs")]
    if texts := {f"inputs.{index}": item for index, item in enumerate(inputs) if isinstance(item, str)}:
        check_number(service, len(texts))
        encoded = await encode(service, model, texts, add_special_tokens)
        return [Prompt(ids, field) for field, ids in zip(texts, encoded, strict=True)]
    if lists := [item for item in inputs if isinstance(item, list)]:
        check_number(service, len(lists))
        return [Prompt(ids, f"inputs.{index}") for index, ids in enumerate(lists)]
    return [Prompt([item for item in inputs if isinstance(item, int)], "inputs")]


async def encode(
    service: Service, model: Model, texts: dict[str, str], add_special_tokens: bool = True
) -> list[list[int]]:
    """Token ids of texts by the field each came from, in a worker thread and within the limit on bytes.

    Raises InvalidRequest.
    """
    text = model.need_text(next(iter(texts)))
    check_sizes(service, texts)
    prompts = list(texts.values())
    return await anyio.to_thread.run_sync(text.encode, prompts, add_special_tokens, limiter=service.limiter)


def check_sizes(service: Service, texts: dict[str, str]) -> None:
    limit = service.settings.server.max_prompt_bytes
    too_long = [
        Problem(field, ProblemCode.TOO_LONG, f"{field} has {size} bytes; allowed: at most {limit} in one prompt")
        for field, prompt in texts.items()
        if (size := len(prompt.encode("utf-8", "replace"))) > limit
    ]
    if too_long:
        raise InvalidRequest(too_long)


async def encode_chat(
    service: Service, model: Model, messages: list[Message], add_special_tokens: bool = False
) -> list[int]:
    """Token ids of a conversation; its template writes the special tokens itself. Raises InvalidRequest.

    Messages that spell a control token stay text, unless the operator lets them be tokens.
    """
    text, is_open = model.need_text("messages"), service.settings.server.control_tokens_in_messages
    turns = [message.model_dump() for message in messages]

    def encoded() -> list[int]:
        rendered = text.render_chat(turns if is_open else text.mark_control_tokens(turns))
        check_sizes(service, {"messages": rendered})
        if is_open:
            return text.encode([rendered], add_special_tokens, field="messages")[0]
        return text.encode_marked(rendered, add_special_tokens)

    return await anyio.to_thread.run_sync(encoded, limiter=service.limiter)


def start_ids(bos_token_id: int | None) -> list[int]:
    """The prompt of a request without one."""
    if bos_token_id is None:
        message = "there is no prompt, and this model has no bos_token_id to start from; give inputs or bos_token_id"
        raise invalid("inputs", ProblemCode.MISSING, message)
    return [bos_token_id]


def check_number(service: Service, number: int, field: str = "inputs") -> None:
    limit = service.settings.server.max_prompts
    if number > limit:
        raise invalid(field, ProblemCode.OUT_OF_RANGE, f"{field} has {number} prompts; allowed: at most {limit}")


def check_filled(prompts: list[Prompt]) -> None:
    empty = [
        Problem(
            prompt.field,
            ProblemCode.EMPTY,
            f"{prompt.field} has no tokens; give at least one, or null for bos_token_id",
        )
        for prompt in prompts
        if not prompt.token_ids
    ]
    if empty:
        raise InvalidRequest(empty)
