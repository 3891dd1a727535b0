"""A picture of the figures, for whoever has matplotlib."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from beamhouse.server.command.bench.figures import Figures, Spread
from beamhouse.server.command.failures import CommandFailed

FORMS = (".svg", ".png")
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""Of the doors; told apart by people who see few colours (Okabe and Ito)."""

LATENCIES = (("first token", "first"), ("between two tokens", "between"))


def check(out: Path) -> None:
    """Before a load is run for it. Raises CommandFailed."""
    if out.suffix not in FORMS:
        raise CommandFailed(f"{out} is no picture: its name ends in {' or '.join(FORMS)}")
    if find_spec("matplotlib") is None:
        raise CommandFailed("--picture needs matplotlib: pip install 'beamhouse[bench]'")
    if not out.absolute().parent.is_dir():
        raise CommandFailed(f"{out} cannot be written: there is no such directory")


def draw(rows: Sequence[Figures], title: str, out: Path) -> None:
    """Tokens per second as bars; latencies from p50 over p90 to p99 as points on a line."""
    from matplotlib.figure import Figure

    doors = list(dict.fromkeys(row.door for row in rows))
    figure = Figure(figsize=(13, 1.7 + 0.36 * len(rows)))
    speed, *latencies = figure.subplots(1, 1 + len(LATENCIES), sharey=True)
    places = range(len(rows))
    colours = [COLOURS[doors.index(row.door) % len(COLOURS)] for row in rows]
    bars = speed.barh(places, [row.tokens_per_s for row in rows], 0.6, color=colours)
    speed.bar_label(bars, [f"{row.tokens_per_s:.0f}" for row in rows], fontsize=8, padding=2)
    speed.set_title("tokens per second", fontsize=10)
    speed.margins(x=0.12)
    names = [row.mode if len(doors) == 1 else f"{row.door}  {row.mode}" for row in rows]
    speed.set_yticks(places, names)
    speed.invert_yaxis()
    for panel, (name, field) in zip(latencies, LATENCIES, strict=True):
        panel.set_title(f"{name}, ms: p50, p90, p99", fontsize=10)
        for place, row, colour in zip(places, rows, colours, strict=True):
            spread_line(panel, place, getattr(row, field), colour)
        panel.margins(x=0.1)
        panel.set_xlim(left=0)
        panel.grid(axis="x", alpha=0.3)
    for panel in (speed, *latencies):
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    figure.tight_layout()
    figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None, dpi=110)


def spread_line(panel: Any, place: int, spread: Spread | None, colour: str) -> None:  # Any: of an optional package
    """Filled where half of all lie, hollow at p90, a bar at p99."""
    if spread is None:
        return
    values = (spread.p50_ms, spread.p90_ms, spread.p99_ms)
    panel.plot(values, [place] * 3, color=colour, linewidth=1.5, zorder=1, clip_on=False)
    for value, marker, face in zip(values, "oo|", (colour, "white", colour), strict=True):
        panel.plot([value], [place], marker, color=colour, markerfacecolor=face, markersize=6, clip_on=False)
