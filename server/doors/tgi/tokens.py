"""TGI's routes that tokenise: the tokens of a text or of a conversation, each with the characters it stands for."""

from collections.abc import Iterator, Sequence

import anyio
from fastapi import APIRouter, Response

from beamhouse.engine.text.tokenizer import Text
from beamhouse.schemas.openai.chat import ChatRequest
from beamhouse.schemas.tgi.answers import ChatTokenizeAnswer, SimpleToken
from beamhouse.schemas.tgi.requests import TgiRequest
from beamhouse.server.answering.answer_json import encode_json, listed
from beamhouse.server.asking.prompts import check_sizes, encode_chat, render
from beamhouse.server.doors.tgi.routes import PROBLEMS, TAG, TgiRoute
from beamhouse.server.doors.tgi.translation import NOTHING
from beamhouse.server.edge.document import examples
from beamhouse.server.edge.strict_json import Served

router = APIRouter(route_class=TgiRoute, tags=[TAG], responses=PROBLEMS)
CONVERSATION = examples(a_conversation={"messages": [{"role": "user", "content": "Hello"}]})


@router.post("/tokenize", include_in_schema=False)
async def tgi_tokenize(body: TgiRequest, service: Served) -> Response:
    """The tokens that the prompt of this body has: where a body of TGI's that came to our own route is handed to."""
    with service.gate.entered():
        text = (await service.model()).need_text("inputs")
        check_sizes(service, {"inputs": body.inputs})

        def tokens() -> bytes:
            ids, spans = text.spans(body.inputs, body.add_special_tokens is not False)
            kept = slice(-(truncate or len(ids)), None)
            return listed_tokens(body.inputs, ids[kept], spans[kept])

        truncate = (body.parameters or NOTHING).truncate
        content = await anyio.to_thread.run_sync(tokens, limiter=service.limiter)
        return Response(content, media_type="application/json")


@router.post("/chat_tokenize", response_model=ChatTokenizeAnswer, openapi_extra=CONVERSATION)
async def chat_tokenize(body: ChatRequest, service: Served) -> Response:
    """The tokens of a conversation as the chat route sees it, and the text that its template makes."""
    with service.gate.entered():
        model = await service.model()
        text, ids = model.need_text("messages"), await encode_chat(service, model, body)

        def tokens() -> bytes:
            rendered = render(text, body, is_open=True)
            answer = {"tokenize_response": chat_tokens(text, rendered, ids), "templated_text": rendered}
            return encode_json(answer)

        content = await anyio.to_thread.run_sync(tokens, limiter=service.limiter)
        return Response(content, media_type="application/json")


def chat_tokens(text: Text, rendered: str, ids: list[int]) -> list[SimpleToken]:
    """Where people wrote what spells a control token, the prompt is not what the text alone would be: its tokens stand
    by themselves then, for no characters."""
    found, spans = text.spans(rendered, add_special_tokens=False, field="messages")
    if found == ids:
        return list(simple_tokens(rendered, ids, spans))
    return [SimpleToken(token_id, text.token_text(token_id), 0, 0) for token_id in ids]


def listed_tokens(text: str, ids: Sequence[int], spans: Sequence[tuple[int, int]]) -> bytes:
    return bytes(listed(encode_json(token) for token in simple_tokens(text, ids, spans)))


def simple_tokens(text: str, ids: Sequence[int], spans: Sequence[tuple[int, int]]) -> Iterator[SimpleToken]:
    for token_id, (start, stop) in zip(ids, spans, strict=True):
        yield SimpleToken(token_id, text[start:stop], start, stop)
