"""From `inputs` or `messages` to token ids."""

from dataclasses import replace

import anyio

from beamhouse.engine.link.errors import InvalidRequest, invalid
from beamhouse.engine.text.tokenizer import Text
from beamhouse.schemas.beamhouse.body import Inputs
from beamhouse.schemas.beamhouse.conversation import Conversation
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.judge.asked import Prompt
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.service import Model, Service


async def read_prompts(service: Service, model: Model, body: GenerateRequest, bos_token_id: int | None) -> list[Prompt]:
    """All prompts of a request, at least one, none empty. Raises InvalidRequest."""
    if body.inputs is not None:
        prompts = await read_inputs(service, model, body.inputs, body.add_special_tokens is not False)
    elif body.messages is not None:
        prompts = [Prompt(await encode_chat(service, model, body, bool(body.add_special_tokens)), "messages")]
    else:
        prompts = [Prompt(start_ids(bos_token_id), "inputs")]
    check_filled(prompts)
    return prompts if body.truncate is None else [truncated(prompt, body.truncate) for prompt in prompts]


def truncated(prompt: Prompt, num_tokens: int) -> Prompt:
    """The last tokens of a prompt."""
    kept = prompt.token_ids[-num_tokens:]
    return replace(prompt, token_ids=kept, num_dropped=len(prompt.token_ids) - len(kept))


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
    service: Service, model: Model, body: Conversation, add_special_tokens: bool = False
) -> list[int]:
    """Token ids of a conversation; its template writes the special tokens itself. Raises InvalidRequest.

    What spells a control token stays text, unless the operator lets it be tokens.
    """
    text, is_open = model.need_text("messages"), service.settings.server.control_tokens_in_messages

    def encoded() -> list[int]:
        rendered = render(text, body, is_open)
        check_sizes(service, {"messages": rendered})
        if is_open:
            return text.encode([rendered], add_special_tokens, field="messages")[0]
        return text.encode_marked(rendered, add_special_tokens)

    return await anyio.to_thread.run_sync(encoded, limiter=service.limiter)


def render(text: Text, body: Conversation, is_open: bool) -> str:
    """What the chat template makes of a conversation. is_open: without marking the control tokens in what people wrote.

    Raises InvalidRequest.
    """
    messages = [message.as_given() for message in body.messages or ()]
    tools = None if body.tools is None else [tool.as_given() for tool in body.tools]
    documents, variables = body.documents, body.chat_template_kwargs
    if not is_open:
        messages = text.mark_control_tokens(messages)
        tools = text.mark_texts(tools, "tools")
        documents = text.mark_texts(documents, "documents")
        variables = text.mark_texts(variables, "chat_template_kwargs")
    return text.render_chat(
        messages,
        add_generation_prompt=body.add_generation_prompt is not False,
        continue_final_message=bool(body.continue_final_message),
        tools=tools,
        documents=documents,
        variables=variables,
    )


def copied(service: Service, prompts: list[Prompt], copies: int | None) -> list[Prompt]:
    """Each prompt so many times in a row. Raises InvalidRequest."""
    if copies is None:
        return prompts
    check_number(service, len(prompts) * copies, "copies")
    return [replace(prompt, copy=copy) for prompt in prompts for copy in range(copies)]


def start_ids(bos_token_id: int | None) -> list[int]:
    """The prompt of a request without one."""
    if bos_token_id is None:
        message = "there is no prompt, and this model has no bos_token_id to start from; give inputs or bos_token_id"
        raise invalid("inputs", ProblemCode.MISSING, message)
    return [bos_token_id]


def check_number(service: Service, number: int, field: str = "inputs") -> None:
    limit = service.settings.server.max_prompts
    if number > limit:
        raise invalid(field, ProblemCode.OUT_OF_RANGE, f"{field} gives {number} prompts; allowed: at most {limit}")


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
