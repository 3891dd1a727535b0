"""`POST /tokenize` and `POST /detokenize`."""

import anyio
from fastapi import APIRouter, Response

from engine.errors import InvalidRequest
from engine.text import Text
from schemas.tokens import DetokenizeAnswer, DetokenizeRequest, TokenizeAnswer, TokenizedText, TokenizeRequest
from server.body import Served, StrictRoute
from server.checks import check_ids
from server.prompts import check_number, encode, encode_chat

router = APIRouter(route_class=StrictRoute, tags=["tokens"])


@router.post("/tokenize", response_model=TokenizeAnswer)
async def tokenize(body: TokenizeRequest, service: Served) -> Response:
    """Token ids of texts or of a conversation, and the text of each token."""
    with service.gate.entered():
        model = await service.model()
        if body.messages is not None:
            encoded = [await encode_chat(service, model, body.messages, bool(body.add_special_tokens))]
        else:
            single = isinstance(body.inputs, str)
            listed = [body.inputs] if isinstance(body.inputs, str) else list(body.inputs or [])
            check_number(service, len(listed))
            texts = {"inputs" if single else f"inputs.{index}": item for index, item in enumerate(listed)}
            encoded = await encode(service, model, texts, add_special_tokens=body.add_special_tokens is not False)
        text = model.need_text("inputs")
        # A long text has so many tokens that writing them down would hold the event loop.
        content = await anyio.to_thread.run_sync(written, encoded, text, limiter=service.limiter)
        return Response(content, media_type="application/json")


def written(encoded: list[list[int]], text: Text) -> str:
    """The answer as JSON."""
    answer = TokenizeAnswer(
        sequences=[
            TokenizedText(token_ids=ids, tokens=[text.token_text(token_id) for token_id in ids], num_tokens=len(ids))
            for ids in encoded
        ]
    )
    return answer.model_dump_json()


@router.post("/detokenize")
async def detokenize(body: DetokenizeRequest, service: Served) -> DetokenizeAnswer:
    """The text of token ids: those of the tokenizer, which may reach beyond the model's own, and those of the model."""
    with service.gate.entered():
        model = await service.model()
        text = model.need_text("token_ids")
        lists = [item for item in body.token_ids if isinstance(item, list)]
        flat = [item for item in body.token_ids if isinstance(item, int)]
        batch = lists or [flat]
        num_ids = max(text.num_ids, model.info.vocab_size)
        for index, token_ids in enumerate(batch):
            problems = [*check_ids(token_ids, f"token_ids.{index}" if lists else "token_ids", num_ids)]
            if problems:
                raise InvalidRequest(problems)

        def decode() -> list[str]:
            return [text.decode(token_ids, skip_special_tokens=body.skip_special_tokens) for token_ids in batch]

        return DetokenizeAnswer(texts=await anyio.to_thread.run_sync(decode, limiter=service.limiter))
