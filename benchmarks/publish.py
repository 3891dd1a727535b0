"""Writes a finished comparison into the documentation: its tables and a picture.

    python -m benchmarks.publish [.peers/runs/llama.jsonl] [--name llama] [--page docs/performance.md]

The tables replace what stands between the marks `<!-- NAME begins -->` and `<!-- NAME ends -->` of the page.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report.ledger import Ledger, sides_of
from benchmarks.report.peer_tables import STREAMS, report

COLOURS = {
    "beamhouse": "#0072b2",
    "llama.cpp": "#e69f00",
    "OpenVINO GenAI": "#009e73",
    "transformers serve": "#cc79a7",
    "generate()": "#999999",
}
"""Told apart by people who see few colours (Okabe and Ito); sides with quantised weights are hatched."""

PANELS = (
    ("decoding", "decode_per_s", {str(n): f"streams-{n}" for n in STREAMS}),
    ("whole run, 128 in / 64 out", "tokens_per_s", {str(n): f"streams-{n}" for n in STREAMS}),
    ("prompts", "prompt_per_s", {"8 of 128": "prefill", "1 of 2048": "context"}),
)
"""Title, figure, and the load behind each label."""


class NoMarks(Exception):
    """A page has no place for a table."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.publish", description="Tables and picture for the docs.")
    parser.add_argument("ledger", type=Path, nargs="?", default=Path(".peers/runs/llama.jsonl"))
    parser.add_argument("--name", help="of the marks and the picture; the ledger's by default")
    parser.add_argument("--page", type=Path, default=Path("docs/performance.md"))
    options = parser.parse_args()
    name = options.name or options.ledger.stem
    picture = options.page.parent / "pictures" / f"speed-{name}.svg"
    ledger = Ledger.read(options.ledger)
    try:
        page = between_marks(options.page.read_text(encoding="utf-8"), name, section(ledger, picture))
    except NoMarks as error:
        sys.exit(f"benchmarks.publish: {options.page}: {error}")
    draw(ledger, picture)
    options.page.write_text(page, encoding="utf-8")


def section(ledger: Ledger, picture: Path) -> str:
    return f"![Tokens per second of each server](pictures/{picture.name})\n\n{report(ledger)}"


def between_marks(page: str, name: str, text: str) -> str:
    """Raises NoMarks unless each mark stands there once, in order."""
    begin, end = f"<!-- {name} begins -->", f"<!-- {name} ends -->"
    before, is_begun, rest = page.partition(begin)
    _, is_ended, after = rest.partition(end)
    if not is_begun or not is_ended or begin in rest or end in before + after:
        raise NoMarks(f"{begin} and {end} do not stand there once each")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def draw(ledger: Ledger, out: Path) -> None:
    sides = sides_of(ledger.runs)
    figure = Figure(figsize=(13, 4.2))
    panels = figure.subplots(1, len(PANELS), width_ratios=[len(labels) for _, _, labels in PANELS])
    for panel, (title, name, labels) in zip(panels, PANELS, strict=True):
        panel.set_title(title)
        panel.set_xlabel("streams" if name != "prompt_per_s" else "prompts at once, tokens each")
        for place, side in enumerate(sides):
            bars(panel, ledger, side, (place - (len(sides) - 1) / 2) / (len(sides) + 1), name, labels)
        panel.set_xticks(range(len(labels)), list(labels))
        panel.margins(y=0.12)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("tokens per second")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="lower center", ncols=len(sides), frameon=False)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, metadata={"Date": None})


def bars(panel: Axes, ledger: Ledger, side: str, offset: float, name: str, labels: dict[str, str]) -> None:
    """One bar for each label, with its height above; nothing where the side was not measured."""
    found = [medians(ledger, load, side, name) for load in labels.values()]
    width = 1 / (len(sides_of(ledger.runs)) + 1)
    family = next((known for known in COLOURS if side.startswith(known)), "generate()")
    drawn = panel.bar(
        [place + offset for place in range(len(labels))],
        [height or 0.0 for height in found],
        width,
        label=side,
        color=COLOURS[family],
        hatch="" if side in COLOURS else "///",
        edgecolor="white",
    )
    panel.bar_label(drawn, [f"{height:.0f}" if height else "" for height in found], fontsize=7, padding=1)


def medians(ledger: Ledger, load: str, side: str, name: str) -> float | None:
    values: Sequence[float | None] = [getattr(run.figures, name) for run in ledger.of(load, side)]
    known = [value for value in values if value is not None]
    return median(known) if known else None


if __name__ == "__main__":
    main()
