"""`POST /tokenize` and `POST /detokenize`."""

import anyio
from fastapi import APIRouter, Response

from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.engine.text.tokenizer import Text
from beamhouse.schemas.beamhouse.tokens import DetokenizeAnswer, DetokenizeRequest, TokenizeAnswer, TokenizeRequest
from beamhouse.schemas.judge.name_rules import ids_outside
from beamhouse.server.answering.answer_json import encode_json
from beamhouse.server.asking.prompts import check_number, encode, encode_chat
from beamhouse.server.doors.whose import tokens_of
from beamhouse.server.edge.document import examples
from beamhouse.server.edge.meeting import MeetingRoute
from beamhouse.server.edge.strict_json import Served


class TokensRoute(MeetingRoute):
    """Here our bodies meet those of TGI."""

    meant = staticmethod(tokens_of)


router = APIRouter(route_class=TokensRoute, tags=["tokens"])


@router.post("/tokenize", response_model=TokenizeAnswer, openapi_extra=examples(a_text={"inputs": "Once upon a time"}))
async def tokenize(body: TokenizeRequest, service: Served) -> Response:
    """Token ids of texts or of a conversation, and the text of each token.

    A body with `parameters` is one of text-generation-inference, and is answered in its words.
    """
    with service.gate.entered():
        model = await service.model()
        if body.messages is not None:
            encoded = [await encode_chat(service, model, body, bool(body.add_special_tokens))]
        else:
            single = isinstance(body.inputs, str)
            listed = [body.inputs] if isinstance(body.inputs, str) else list(body.inputs or [])
            check_number(service, len(listed))
            texts = {"inputs" if single else f"inputs.{index}": item for index, item in enumerate(listed)}
            encoded = await encode(service, model, texts, add_special_tokens=body.add_special_tokens is not False)
        text = model.need_text("inputs")
        # A long text has so many tokens that writing them down would hold the event loop.
        content = await anyio.to_thread.run_sync(tokenize_json, encoded, text, limiter=service.limiter)
        return Response(content, media_type="application/json")


def tokenize_json(encoded: list[list[int]], text: Text) -> bytes:
    """A `TokenizeAnswer` as JSON. So large a one is not first made and checked as a model, in one breath."""
    listed = [[text.token_text(token_id) for token_id in ids] for ids in encoded]
    sequences = [
        {"token_ids": ids, "tokens": tokens, "num_tokens": len(ids)}
        for ids, tokens in zip(encoded, listed, strict=True)
    ]
    return encode_json({"sequences": sequences})


@router.post("/detokenize", response_model=DetokenizeAnswer, openapi_extra=examples(ids={"token_ids": [33, 34, 35]}))
async def detokenize(body: DetokenizeRequest, service: Served) -> Response:
    """The text of token ids: those of the tokenizer, which may reach beyond the model's own, and those of the model."""
    with service.gate.entered():
        model = await service.model()
        text = model.need_text("token_ids")
        content = await anyio.to_thread.run_sync(decoded, body, text, model.info.vocab_size, limiter=service.limiter)
        return Response(content, media_type="application/json")


def decoded(body: DetokenizeRequest, text: Text, vocab_size: int) -> str:
    """The answer as JSON. Raises InvalidRequest for ids that neither the tokenizer nor the model has."""
    lists = [item for item in body.token_ids if isinstance(item, list)]
    batch = lists or [[item for item in body.token_ids if isinstance(item, int)]]
    num_ids = max(text.num_ids, vocab_size)
    for index, token_ids in enumerate(batch):
        problems = [*ids_outside(token_ids, f"token_ids.{index}" if lists else "token_ids", num_ids)]
        if problems:
            raise InvalidRequest(problems)
    texts = [text.decode(token_ids, skip_special_tokens=body.skip_special_tokens) for token_ids in batch]
    return DetokenizeAnswer(texts=texts).model_dump_json()
