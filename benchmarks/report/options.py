"""The options that the benchmarks share."""

import argparse
from pathlib import Path


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def add_common(parser: argparse.ArgumentParser, *, device: str, new_tokens: int, threads: int) -> None:
    """What every comparison with the library asks; the values are the defaults that differ."""
    parser.add_argument("--model", default="builtin", help="directory, Hub id or builtin (default)")
    parser.add_argument("--prompt-tokens", type=positive, default=64)
    parser.add_argument("--new-tokens", type=positive, default=new_tokens)
    parser.add_argument("--rounds", type=positive, default=3, help="of each side, alternating")
    parser.add_argument("--seed", type=int, default=0, help="of the prompts, which are random tokens")
    parser.add_argument("--threads", type=int, default=threads, help=f"of each side; 0: its own choice ({threads})")
    parser.add_argument("--device", default=device, help=f"as the server takes it ({device})")
    parser.add_argument("--wait-s", type=float, default=600.0, help="how long the server may take to get ready")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
