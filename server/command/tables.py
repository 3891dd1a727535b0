"""Tables for a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

STYLES = {"note": "yellow", "problem": "bold red"}


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns; colours only on a terminal."""
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row, style=next((STYLES[cell] for cell in row if cell in STYLES), None))
    console.print(table)
