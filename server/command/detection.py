"""Look for a watermark: on this machine, with a model's tokenizer and without its weights, or by asking a server."""

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

import msgspec

from beamhouse.client import BeamhouseError, Client
from beamhouse.config.settings import Settings
from beamhouse.engine.link.messages import LoadFailed
from beamhouse.schemas.beamhouse.watermark_detection import DetectRequest
from beamhouse.schemas.model_info import ModelInfo
from beamhouse.server.command.failures import CommandFailed
from beamhouse.server.command.no_engine import NoEngine
from beamhouse.server.command.refusals import in_words, refused
from beamhouse.server.doors.beamhouse.watermark import find_marks
from beamhouse.server.edge.strict_json import read_checked
from beamhouse.server.service import Service

OUTLINE = "beamhouse.engine.loading.outline"
SHOWN = 24
"""Characters of a text in the table."""
COLUMNS = {
    "prediction": "marked",
    "num_tokens_scored": "scored",
    "green_fraction": "green",
    "z_score": "z_score",
    "p_value": "p_value",
    "mean": "mean",
    "weighted_mean": "weighted",
    "posterior": "posterior",
}
"""The fields of a finding that the table shows, where there are some, and what stands over them."""
FLAGS = {True: "+", False: "-", None: "."}

Found = dict[str, Any]


def detect_at(url: str, body: dict[str, Any]) -> Found:
    """What a server finds. Raises CommandFailed."""
    inputs = body.pop("inputs")
    try:
        with Client(url) as client:
            return cast(Found, client.detect_watermark(inputs, **body))
    except BeamhouseError as error:
        raise CommandFailed(in_words(error)) from error


def detect_here(settings: Settings, body: dict[str, Any]) -> Found:
    """What the same code finds without a server. Raises CommandFailed."""
    with tempfile.TemporaryDirectory() as work, refused(DetectRequest):
        read = read_checked(json.dumps(body).encode(), DetectRequest)
        service = Service.of(NoEngine(outline(settings, Path(work))), settings)
        answer = asyncio.run(find_marks(service, read))
    return answer.model_dump(mode="json", exclude_none=True)


def outline(settings: Settings, work: Path) -> ModelInfo:
    """What the files of the model say, read by a process that may import what reads them. Raises CommandFailed."""
    command = [sys.executable, "-m", OUTLINE, str(work)]
    done = subprocess.run(command, input=settings.model.model_dump_json(), text=True, check=False)
    if done.returncode:
        raise CommandFailed("the model's files could not be read; what is printed above says why")
    said = msgspec.json.decode((work / "outline.json").read_bytes(), type=ModelInfo | LoadFailed)
    if isinstance(said, LoadFailed):
        raise CommandFailed(said.error)
    return said


def table_of(texts: list[str], found: Found) -> list[list[str]]:
    """The heads, then a row for each text."""
    detections: list[Found] = found["detections"]
    names = [name for name in COLUMNS if any(name in one for one in detections)]
    rows = [[told(one.get(name)) for name in names] for one in detections]
    heads = [*(COLUMNS[name] for name in names), "text"]
    return [heads, *([*row, shortened(text)] for row, text in zip(rows, texts, strict=True))]


def flag_lines(found: Found) -> list[str]:
    """A sign for each token: + speaks for the mark, - against it, . was not scored."""
    return ["".join(FLAGS[flag] for flag in one["flags"]) for one in found["detections"] if "flags" in one]


def shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"


def told(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
