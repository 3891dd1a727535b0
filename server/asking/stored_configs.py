"""Configurations that lie as files on the server, for requests to name."""

import re
from pathlib import Path

import anyio
from pydantic import ValidationError

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.problems import MAX_SHOWN
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.edge.errors import Refused
from beamhouse.server.edge.strict_json import parse_json
from beamhouse.server.service import Service

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


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
