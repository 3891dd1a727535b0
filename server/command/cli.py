"""The command `beamhouse`.

What a command needs beside its settings it imports when it runs: the engine process is started first, so that both
processes import at the same time.
"""

import gc
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from beamhouse.config.settings import KEYS, PARTS, load, sources
from beamhouse.config.sources import InvalidSettings
from beamhouse.engine.link.child import Child
from beamhouse.engine.link.errors import EngineError
from beamhouse.server.command import asking
from beamhouse.server.command.arguments import AsJson, ConfigFile, given, read_texts
from beamhouse.server.command.failures import EXIT_FAILED, CommandFailed
from beamhouse.server.command.options import (
    generation_config_of,
    generation_options,
    request_fields_of,
    request_options,
    setting_options,
    with_options,
)
from beamhouse.server.command.tables import print_table

EXIT_USAGE = 2
OF_A_DOWNLOAD = ("model", "revision", "cache_dir")

app = typer.Typer(
    help="All of Hugging Face generate() over HTTP, continuously batched.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


for command in asking.COMMANDS:
    app.command()(command)


def show_version(is_asked: bool) -> None:
    if is_asked:
        from beamhouse.server.version import version

        print(version())
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """All of Hugging Face generate() over HTTP, continuously batched."""


@app.command()
@with_options(setting_options(*PARTS))
def serve(
    name: Annotated[str | None, typer.Argument(metavar="MODEL", help="Directory or Hub id; same as --model.")] = None,
    config: ConfigFile = None,
    **options: Any,
) -> None:
    """Serve a model over HTTP until SIGTERM; running requests are finished first."""
    settings = load(given(options, name), config)
    with closing(Child(is_captured=settings.server.logs_json)) as child:
        from beamhouse.server.command import commands

        status = commands.serve(settings, child)
    raise typer.Exit(status)


@app.command()
@with_options([*request_options(), *generation_options(), *setting_options("model", "engine")])
def generate(
    prompt: Annotated[str, typer.Argument(help="Text to continue; - reads it from standard input.")],
    seed: Annotated[int | None, typer.Option(help="Reproduces torch.manual_seed(seed) before generate().")] = None,
    stream: Annotated[bool, typer.Option("--stream/--no-stream", help="Print the text while it comes.")] = True,
    as_json: AsJson = False,
    config: ConfigFile = None,
    **options: Any,
) -> None:
    """Answer one prompt on this machine, without a server."""
    chosen = given(options)
    settings = load({key: value for key, value in chosen.items() if key in KEYS}, config)
    beside = request_fields_of(chosen)
    fields = generation_config_of({key: value for key, value in chosen.items() if key not in KEYS.keys() | beside})
    (inputs,) = read_texts([prompt])
    body = {"inputs": inputs, "generation_config": fields, "seed": seed, **beside}
    shows_pieces = stream and not as_json and fields.get("num_return_sequences", 1) == 1
    with closing(Child()) as child:
        from beamhouse.server.command import commands, in_process

        request = in_process.LocalRequest(body, print_piece if shows_pieces else ignore_piece)
        answer = commands.generate(settings, child, request)
    if as_json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    elif shows_pieces:
        print()
    else:
        print("\n---\n".join(sequence["text"] for sequence in answer["sequences"]))


def print_piece(text: str) -> None:
    print(text, end="", flush=True)


def ignore_piece(text: str) -> None:
    """For answers that are printed when they are whole."""


@app.command(name="config")
@with_options(setting_options(*PARTS))
def show_config(config: ConfigFile = None, as_json: AsJson = False, **options: Any) -> None:
    """Show the settings in force and where each comes from."""
    settings = load(given(options), config)
    plain = settings.model_dump(mode="json")
    values = {key: value for part in PARTS for key, value in plain[part].items()}
    origins = {key: where for key, (_, where) in sources(settings).items()}
    if as_json:
        print(json.dumps({key: {"value": values[key], "from": origins[key]} for key in values}, indent=2))
        return
    rows = [(key, "not set" if value is None else json.dumps(value), origins[key]) for key, value in values.items()]
    print_table(("key", "value", "from"), rows)


@app.command()
@with_options(setting_options(*PARTS))
def doctor(config: ConfigFile = None, as_json: AsJson = False, **options: Any) -> None:
    """Look for what would go wrong on this machine; exit status 1 if something would."""
    from beamhouse.server.command import doctor as diagnosis

    findings = diagnosis.examine(load(given(options), config))
    if as_json:
        print(json.dumps([{"subject": f.subject, "verdict": f.verdict, "text": f.text} for f in findings], indent=2))
    else:
        print_table(("subject", "verdict", "finding"), [(f.subject, f.verdict, f.text) for f in findings])
    if any(finding.verdict is diagnosis.Outlook.PROBLEM for finding in findings):
        raise typer.Exit(EXIT_FAILED)


@app.command()
@with_options(option for option in setting_options("model") if option.name in OF_A_DOWNLOAD)
def download(
    name: Annotated[str | None, typer.Argument(metavar="MODEL", help="Directory or Hub id; same as --model.")] = None,
    config: ConfigFile = None,
    **options: Any,
) -> None:
    """Fetch a model into the cache, or look whether a directory holds one; prints where it lies."""
    settings = load(given(options, name), config)
    from beamhouse.server.command import download as fetching

    print(fetching.download(settings))


@app.command()
def openapi(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there instead of printing it.")] = None,
) -> None:
    """Print the OpenAPI document of a server, without loading a model."""
    from beamhouse.server.command.openapi import document

    text = json.dumps(document(), indent=2, ensure_ascii=False)
    if out is None:
        print(text)
        return
    try:
        out.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"{out} cannot be written: {error.strerror}") from error


def main() -> None:
    """Run the command; a wrong setting or a taken port is one line on stderr, not a traceback."""
    gc.disable()  # nothing that is made while importing becomes garbage; whoever serves turns it on again
    try:
        app()
    except InvalidSettings as error:
        print(f"beamhouse: {error}", file=sys.stderr)
        sys.exit(EXIT_USAGE)
    except (CommandFailed, EngineError) as error:
        print(f"beamhouse: {error}", file=sys.stderr)
        sys.exit(EXIT_FAILED)
