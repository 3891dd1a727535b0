"""What decides the figures of a comparison with peers: machine, versions, settings."""

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.machine.facts import commit, cpu_name, memory_gib
from benchmarks.peers.catalog import Choice, Side, num_weights

PACKAGES = ("torch", "transformers")


def describe(choice: Choice, sides: Sequence[Side], seed: int) -> dict[str, Any]:
    config = choice.config
    names = ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size")
    shape = {name: config[name] for name in names}
    weights = {"with_head": num_weights(config), "without_head": num_weights(config, with_head=False)}
    return {
        "model": {"name": choice.model.folder.name, "dtype": config["dtype"], **shape, "weights": weights},
        "machine": {"cpu": cpu_name(), "cores": len(os.sched_getaffinity(0)), "memory_gib": memory_gib()},
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}},
        "commit": commit(),
        "threads": choice.threads,
        "seed": seed,
        "sides": {side.name: told(side, choice) for side in sides},
    }


def told(side: Side, choice: Choice) -> dict[str, Any]:
    """Paths of this machine are left out of what is published."""
    places = {str(choice.model.source): "MODEL", str(choice.model.folder): "MODEL", str(choice.peers): "PEERS"}
    words = [Path(side.command[0]).name, *side.command[1:]]
    for place, name in places.items():
        words = [word.replace(place, name) for word in words]
    environment = [f"{key}={value}" for key, value in side.environment.items()]
    return {"precision": side.precision, "command": " ".join(environment + words), "note": side.note}
