"""The commands that ask: a server by its address, or a model on this machine."""

import json
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from beamhouse.config.settings import KEYS, load
from beamhouse.engine.link.child import Child
from beamhouse.server.command.arguments import AsJson, ConfigFile, given, read_texts
from beamhouse.server.command.failures import EXIT_FAILED, CommandFailed
from beamhouse.server.command.options import (
    detection_fields_of,
    detection_options,
    generation_config_of,
    generation_options,
    request_fields_of,
    request_options,
    setting_options,
    with_options,
)
from beamhouse.server.command.tables import print_table

OF_A_DETECTION = ("model", "revision", "cache_dir", "watermarks", "default_watermark")
DOOR_HELP = "Which door, or all; may be repeated. [default: native]"
MODE_HELP = "A mode, all, or NAME=JSON with fields of POST /generate; may be repeated. [default: greedy_search]"
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
    if url is not None:
        refuse_settings(settings, url)
    found = detection.detect_at(url, body) if url else detection.detect_here(load(settings, config), body)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    heads, *rows = detection.table_of(read, found)
    print_table(heads, rows)
    for line in detection.flag_lines(found):
        print(line)


@with_options([*request_options(), *generation_options(), *setting_options("model", "engine")])
def chat(
    where: Annotated[
        str | None, typer.Argument(metavar="[URL or MODEL]", help="A server's address; else a directory or Hub id.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="What the model is told before the conversation.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="No turns: the model goes on behind what you write.")] = False,
    seed: Annotated[int | None, typer.Option(help="Reproduces each answer.")] = None,
    config: ConfigFile = None,
    **options: Any,
) -> None:
    """Talk with a model in this terminal; /help inside lists what can be set."""
    is_url = where is not None and where.startswith(("http://", "https://"))
    chosen = given(options, None if is_url else where)
    beside = request_fields_of(chosen) | ({} if seed is None else {"seed": seed})
    settings = {key: value for key, value in chosen.items() if key in KEYS}
    fields = generation_config_of({key: value for key, value in chosen.items() if key not in KEYS.keys() | beside})
    if is_url:
        refuse_settings(settings, str(where))
        from beamhouse.server.command.chat import begin

        begin.with_server(str(where), begin.Opening(plain, system, fields, beside))
        return
    in_force = load(settings, config)
    with closing(Child()) as child:
        from beamhouse.server.command.chat import begin

        begin.with_model(in_force, child, begin.Opening(plain, system, fields, beside))


def bench(
    url: Annotated[str, typer.Argument(metavar="URL", help="A server's address.")],
    door: Annotated[list[str] | None, typer.Option(help=DOOR_HELP)] = None,
    mode: Annotated[list[str] | None, typer.Option(help=MODE_HELP)] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Streams at once.")] = 8,
    requests: Annotated[int | None, typer.Option(min=1, help="Requests of each load. [default: 4 a stream]")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Begin requests for so long instead.")] = None,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="About so many, in common words.")] = 64,
    new_tokens: Annotated[int, typer.Option(min=1, help="Of each answer, exactly.")] = 64,
    seed: Annotated[int, typer.Option(help="Of the prompts.")] = 0,
    assistant_model: Annotated[str | None, typer.Option(help="The server's draft model, for drafting modes.")] = None,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="How long one request may take.")] = 600.0,
    picture: Annotated[Path | None, typer.Option(metavar="FILE.svg|png", help="Draw the figures.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put load on a server and tell its tokens per second, first tokens, and times between tokens, for each mode."""
    from beamhouse.server.command.bench import command as benching

    options = benching.Options(
        url=url,
        doors=door or ["native"],
        modes=mode or ["greedy_search"],
        extent=benching.extent_of(concurrency, requests, seconds, timeout_s),
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        seed=seed,
        assistant_model=assistant_model,
        picture=picture,
    )
    rows = benching.bench(options)
    if as_json:
        print(benching.as_json(options, rows))
    else:
        benching.show(rows)
    if not any(row.tokens for row in rows):
        raise typer.Exit(EXIT_FAILED)


def refuse_settings(settings: dict[str, Any], url: str) -> None:
    """Raises CommandFailed for settings that another process has."""
    if settings:
        raise CommandFailed(f"the server at {url} has its own settings; leave out {', '.join(settings)}")


COMMANDS = (chat, bench, detect)
