"""Whose request a body is, on the paths that several protocols have: the name of a route, None for our own."""

from typing import Any

from beamhouse.server.service import Service

TGI_KEYS = frozenset({"inputs", "parameters", "stream", "add_special_tokens"})


def generation_of(body: Any, _: Service) -> str | None:
    """TGI puts what we put beside the prompt into `parameters`."""
    return "tgi_generate" if isinstance(body, dict) and body.get("parameters") is not None else None


def tokens_of(body: Any, service: Service) -> str | None:
    """A text alone is a body of both: where `tgi_compat` is on, it is TGI's."""
    if not isinstance(body, dict):
        return None
    is_both = body.keys() <= TGI_KEYS and isinstance(body.get("inputs"), str)
    is_tgi = body.get("parameters") is not None or (is_both and service.settings.server.tgi_compat)
    return "tgi_tokenize" if is_tgi else None


def invocation_of(body: Any, _: Service) -> str | None:
    """SageMaker has one path for everything: a conversation or a `prompt` is OpenAI's, `inputs` TGI's or our own."""
    if not isinstance(body, dict):
        return None
    if body.get("messages") is not None:
        return "chat"
    if body.get("prompt") is not None:
        return "complete"
    return None if body.keys() <= TGI_KEYS else "generate"
