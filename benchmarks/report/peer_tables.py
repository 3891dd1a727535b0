"""The tables of a comparison with peers, as Markdown: medians of the rounds, best figures in bold."""

from collections.abc import Callable, Sequence
from statistics import median

from benchmarks.report.figures import Figures
from benchmarks.report.ledger import Ledger, Run, sides_of
from benchmarks.report.shares import bandwidth_share, compute_share
from benchmarks.report.tables import markdown
from benchmarks.serving.dialects import UNKNOWN

ABSENT = "-"
STREAMS = (1, 8, 32)
Pick = Callable[[Sequence[Run]], float | None]
"""A figure of all rounds of one side under one load."""


def report(ledger: Ledger) -> str:
    """All tables, the sides that are missing, and the settings."""
    tables = [speed_table(ledger), latency_table(ledger), limits_table(ledger), mixed_table(ledger)]
    return "\n\n".join(part for part in (*tables, growth_lines(ledger), settings(ledger)) if part)


def of(name: str) -> Pick:
    """The median of a figure."""

    def pick(runs: Sequence[Run]) -> float | None:
        value: float | None = getattr(Figures.median_of(run.figures for run in runs), name) if runs else None
        return value

    return pick


def cell(value: float | None, best: float | None = None) -> str:
    """Three digits, bold where it is the best."""
    if value is None:
        return ABSENT
    text = f"{value:.0f}" if value >= 100 else f"{value:.1f}"
    return f"**{text}**" if value == best else text


def table(ledger: Ledger, columns: Sequence[tuple[str, str, Pick]], is_best_least: bool) -> str:
    """columns: head, load and figure. Best is meant among sides of one precision."""
    sides = [side for side in sides_of(ledger.runs) if any(ledger.of(load, side) for _, load, _ in columns)]
    if not sides:
        return ""
    precision = {side: ledger.facts["sides"][side]["precision"] for side in sides}
    rows = [[side, precision[side]] for side in sides]
    for _, load, pick in columns:
        values = {side: pick(ledger.of(load, side)) for side in sides}
        for row, side in zip(rows, sides, strict=True):
            rivals = [v for other, v in values.items() if v is not None and precision[other] == precision[side]]
            best = (min if is_best_least else max)(rivals, default=None) if len(rivals) > 1 else None
            row.append(cell(values[side], best))
    return markdown([["side", "weights", *(head for head, _, _ in columns)], *rows])


def speed_table(ledger: Ledger) -> str:
    decode = [(f"{n}: decode", f"streams-{n}", of("decode_per_s")) for n in STREAMS]
    whole = [(f"{n}: whole run", f"streams-{n}", of("tokens_per_s")) for n in STREAMS]
    columns = [*decode, ("prefill", "prefill", of("prompt_per_s")), *whole]
    shown = table(ledger, columns, is_best_least=False)
    return shown and f"Tokens per second with 1, 8 and 32 streams.\n\n{shown}"


def latency_table(ledger: Ledger) -> str:
    """Medians and what 99 of 100 stay below, as one cell."""
    heads = ["side", "weights", *(f"{n}: {what}" for what in ("first", "between") for n in STREAMS)]
    rows = []
    for side in sides_of(ledger.runs):
        row = [side, ledger.facts["sides"][side]["precision"]]
        for what in ("first", "between"):
            for runs in (ledger.of(f"streams-{n}", side) for n in STREAMS):
                row.append(" / ".join(cell(of(f"{what}_{share}_ms")(runs)) for share in ("p50", "p99")))
        rows.append(row)
    about = "Milliseconds to the first token of a request, and between two of its tokens: p50 / p99."
    return f"{about}\n\n{markdown([heads, *rows])}" if rows else ""


def limits_table(ledger: Ledger) -> str:
    facts = ledger.facts
    columns: list[tuple[str, str, Pick]] = [
        ("1: bandwidth", "streams-1", lambda runs: bandwidth_share(runs, facts, 1)),
        ("8: bandwidth", "streams-8", lambda runs: bandwidth_share(runs, facts, 8)),
        ("32: arithmetic", "streams-32", lambda runs: compute_share(runs, facts, "decode_per_s")),
        ("prefill: arithmetic", "prefill", lambda runs: compute_share(runs, facts, "prompt_per_s")),
    ]
    shown = table(ledger, columns, is_best_least=False)
    if not shown:
        return ""
    read, gemm = (median(getattr(run.limits, name) for run in ledger.runs) for name in ("read_gb_s", "gemm_gflop_s"))
    return (
        f"Per cent of what the machine can do, measured before each load: {read:.1f} GB/s read in huge pages and "
        f"{gemm:.0f} GFLOP/s of {facts['model']['dtype']} products (medians).\n\n{shown}\n\n"
        f"Peak memory of all processes of a side, 1 GiB of keys and values included where it is reserved; and how many "
        f"answers begin with the tokens that this server gave.\n\n{markdown(peaks(ledger), names=1)}"
    )


def peaks(ledger: Ledger) -> list[list[str]]:
    """Heads and rows."""
    sides = sides_of(ledger.runs)
    ours = {(run.round, run.load): run.heads for run in ledger.runs if run.side == sides[0]}
    rows = [["side", "MiB", "same beginnings"]]
    for side in sides:
        runs = [run for run in ledger.runs if run.side == side]
        pairs = [pair for run in runs for pair in zip(run.heads, ours.get((run.round, run.load), []), strict=False)]
        known = [left == right for left, right in pairs if UNKNOWN not in left]
        same = f"{sum(known)} of {len(known)}" if known and side != sides[0] else ABSENT
        rows.append([side, cell(max(run.peak_mib for run in runs)), same])
    return rows


def mixed_table(ledger: Ledger) -> str:
    names = ("first_p50_ms", "first_p99_ms", "between_p50_ms", "between_p99_ms")
    columns = [(name.removesuffix("_ms").replace("_", " "), "mixed", of(name)) for name in names]
    shown = table(ledger, columns, is_best_least=True)
    return shown and f"Requests of mixed lengths that arrive as they like; milliseconds.\n\n{shown}"


def growth_lines(ledger: Ledger) -> str:
    """How tokens per second grow with streams, and what a token costs behind a long context."""
    heads = ["side", "32 streams over 1", "token at 2048 over 128"]
    rows = []
    for side in sides_of(ledger.runs):
        one, many = (of("decode_per_s")(ledger.of(f"streams-{n}", side)) for n in (1, 32))
        near, far = (of("between_p50_ms")(ledger.of(load, side)) for load in ("streams-1", "context"))
        grown = f"{many / one:.1f}" if one and many else ABSENT
        cost = f"{far / near:.2f}" if near and far else ABSENT
        if (grown, cost) != (ABSENT, ABSENT):
            rows.append([side, grown, cost])
    return (
        f"Growth: decoding at 32 streams over 1, and the time of a token.\n\n{markdown([heads, *rows], 1)}"
        if rows
        else ""
    )


def settings(ledger: Ledger) -> str:
    """What was run, and what was not and why."""
    facts = ledger.facts
    rounds = max((run.round for run in ledger.runs), default=0)
    head = ", ".join(
        [
            f"{rounds} rounds",
            f"{facts['threads']} threads each",
            f"seed {facts['seed']}",
            f"{facts['machine']['cores']} cores of {facts['machine']['cpu']}",
            *(f"{name} {version}" for name, version in facts["versions"].items()),
            f"commit {facts['commit']}",
        ]
    )
    ran = set(sides_of(ledger.runs))
    lines = [
        f"- {name}: `{side['command']}`" + (f" ({side['note']})" if side["note"] else "")
        for name, side in facts["sides"].items()
        if name in ran
    ]
    missing = [f"- {name}: not measured: {reason}" for name, reason in ledger.left_out.items()]
    client, other = ([getattr(run, name) for run in ledger.runs] or [0.0] for name in ("client_cpu", "other_cpu"))
    took = f"Cores busy for the client and for nobody here: {median(client):.2f} and {median(other):.2f}, at most "
    took += f"{max(client):.2f} and {max(other):.2f}."
    return "\n".join([f"Settings: {head}. {took}", "", *lines, *missing])
