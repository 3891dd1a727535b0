"""The shape of a case: one `generate()` call on a batch of one, as plain data."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "cases.json"


@dataclass(frozen=True, slots=True)
class Case:
    """id: unique. mode: as `get_generation_mode` names it. fields: of `GenerationConfig`; nothing else is set.

    draft: what the draft model's own `generation_config` holds, where there is one; a request here says the same in its
    fields. constraints in `fields` are data, as requests carry them.
    """

    id: str
    family: str
    mode: str
    prompt_ids: list[int]
    fields: dict[str, Any]
    seed: int = 0
    draft: dict[str, Any] | None = None
    negative_prompt_ids: list[int] = field(default_factory=list)

    @property
    def end_ids(self) -> list[int]:
        ends = self.fields["eos_token_id"]
        return ends if isinstance(ends, list) else [ends]


def read_cases() -> list[Case]:
    """All committed cases, in their order."""
    return [Case(**case) for case in json.loads(FILE.read_text(encoding="utf-8"))]


def write_cases(cases: list[Case]) -> None:
    """Write them one a line, so that a change shows as the lines of the cases it changes."""
    lines = ",\n".join(json.dumps(asdict(case)) for case in cases)
    FILE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
