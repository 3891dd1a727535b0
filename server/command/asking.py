"""The commands that ask: a server by its address, or a model on this machine."""

import json
from typing import Annotated, Any

import typer

from beamhouse.config.settings import KEYS, load
from beamhouse.server.command.arguments import AsJson, ConfigFile, given, read_texts
from beamhouse.server.command.failures import CommandFailed
from beamhouse.server.command.options import detection_fields_of, detection_options, setting_options, with_options
from beamhouse.server.command.tables import print_table

OF_A_DETECTION = ("model", "revision", "cache_dir", "watermarks", "default_watermark")
Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="Ask this server instead of a model here.")]


@with_options([*detection_options(), *(one for one in setting_options("model") if one.name in OF_A_DETECTION)])
def detect(
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="What to look at; - reads standard input.")],
    url: Url = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    **options: Any,
) -> None:
    """Look for a watermark in texts, with the tokens of a model; its weights are not loaded."""
    from beamhouse.server.command import detection

    chosen, read = given(options), read_texts(texts)
    body = {"inputs": read, **detection_fields_of(chosen)}
    settings = {key: value for key, value in chosen.items() if key in KEYS}
    if url is not None and settings:
        raise CommandFailed(f"the server at --url has its own model and watermarks; leave out {', '.join(settings)}")
    found = detection.detect_at(url, body) if url else detection.detect_here(load(settings, config), body)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    heads, *rows = detection.table_of(read, found)
    print_table(heads, rows)
    for line in detection.flag_lines(found):
        print(line)


COMMANDS = (detect,)
