"""Writes docs/architectures.md: how each causal language model of the library is served.

python -m tests.architectures [NAME ...]    NAME: only these, printed instead of written
"""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from collections.abc import Sequence as Seq
from pathlib import Path

from tests.architectures.configs import names
from tests.architectures.table import table
from tests.architectures.trial import Outcome, outcome_of

FILE = Path(__file__).parents[2] / "docs" / "architectures.md"
FROM_HERE = "--from-here"


def outcomes(asked: Seq[str]) -> Iterator[Outcome]:
    """In a process of their own, begun anew where one of them ends it."""
    left = list(asked)
    while left:
        command = [sys.executable, "-m", "tests.architectures", FROM_HERE, *left]
        quiet = os.environ | {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=quiet
        ) as child:
            assert child.stdout is not None
            for line in child.stdout:
                if line.startswith("{"):
                    yield Outcome(**json.loads(line))
                    del left[0]
        if left:
            yield Outcome(left.pop(0), "?", wrong=f"the process ended with status {child.returncode}")


def main() -> None:
    """Exits with 1 where a model that is served answers something else than `generate()`."""
    asked = sys.argv[1:]
    if asked[:1] == [FROM_HERE]:
        for name in asked[1:]:
            print(json.dumps(dataclasses.asdict(outcome_of(name))), flush=True)
        return
    found = []
    for outcome in outcomes(asked or names()):
        print(outcome.name, outcome.served or f"not: {outcome.reason}", outcome.wrong, sep=" | ", flush=True)
        found.append(outcome)
    if not asked:
        FILE.write_text(table(found), encoding="utf-8")
    sys.exit(any(outcome.wrong for outcome in found))


if __name__ == "__main__":
    main()
