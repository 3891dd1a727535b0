"""The outcomes as a page."""

from collections.abc import Sequence as Seq

import transformers

from tests.architectures.trial import Outcome

HEAD = """# Architectures

How every causal language model of transformers {version} is served, as a tiny random model. This page is written by
`python -m tests.architectures`, which is run before a release; a dozen of its rows are tests.

*Equal* means: greedy answers in float32 are those of `generate()`, for prompts of 5, 41 and 110 tokens in company, fed
in parts and past the windows, and for two that find their beginnings in the cache. *Kernels* run the decoder whole
or its linear layers; *torch* is the library's own code. The last column says whether a model also loads in bfloat16.
What computes depends on sizes, too: kernels take those that are multiples of 16.
"""


def table(outcomes: Seq[Outcome]) -> str:
    """docs/architectures.md."""
    served = [one for one in outcomes if one.served]
    refused = [one for one in outcomes if one.is_built and not one.served]
    unbuilt = [one for one in outcomes if not one.is_built]
    lines = [HEAD.format(version=transformers.__version__)]
    lines += [f"{len(served)} are served, {len(refused)} are refused, {len(unbuilt)} have no tiny form here.\n"]
    lines += ["| Architecture | Class | Computed by | Equal | bfloat16 |", "|---|---|---|---|---|"]
    for one in served:
        half = "refused" if one.two_bytes.startswith("refused") else "yes"
        lines.append(f"| {one.name} | `{one.kind}` | {_computes(one.served)} | {one.wrong or 'yes'} | {half} |")
    lines += ["", "## Refused, with the reason", "", "| Architecture | Class | Reason |", "|---|---|---|"]
    lines += [f"| {one.name} | `{one.kind}` | {_cell(one.reason)} |" for one in refused]
    lines += ["", "## Not tried", "", "A small configuration alone does not make a model of these.", ""]
    lines += ["| Architecture | Class | Why |", "|---|---|---|"]
    lines += [f"| {one.name} | `{one.kind}` | {_cell(one.reason)} |" for one in unbuilt]
    return "\n".join(lines) + "\n"


def _computes(kernels: str) -> str:
    for part in ("whole decoder", "linear layers"):
        if part in kernels:
            return f"kernels, {part}"
    return "torch"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
