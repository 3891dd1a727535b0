"""Draw the losses that the training of the built-in models recorded.

    python -m training.loss_curve --out docs/pictures/builtin-loss.svg

Reads the `training.json` beside each model; nothing is trained.
"""

import argparse
import json
from pathlib import Path

from matplotlib.figure import Figure

from beamhouse.engine import builtin

HERE = Path(builtin.__file__).parent
SHARDS = {"tinystories": "C0", "storybooks": "C1", "books": "C2"}


def draw(out: Path) -> None:
    """One panel per model: held-out loss in nats per token over the tokens seen."""
    sizes = [size for size in ("model", "draft") if (HERE / size / "training.json").is_file()]
    figure = Figure(figsize=(5.5 * len(sizes), 4))
    panels = figure.subplots(1, len(sizes), sharey=True, squeeze=False)
    for size, panel in zip(sizes, panels[0], strict=True):
        report = json.loads((HERE / size / "training.json").read_text(encoding="utf-8"))
        millions = [entry["tokens"] / 1e6 for entry in report["history"]]
        for shard, colour in SHARDS.items():
            panel.plot(millions, [entry[shard] for entry in report["history"]], colour, label=f"{shard}, held out")
        panel.plot(millions, [entry["train"] for entry in report["history"]], "0.6", lw=1, label="training mix")
        panel.set_title(f"{size}: {report['parameters'] / 1e6:.2f} million parameters")
        panel.set_xlabel("million tokens seen")
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("loss, nats per token")
    panels[0][0].legend()
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/builtin-loss.svg"))
    draw(parser.parse_args().out)


if __name__ == "__main__":
    main()
