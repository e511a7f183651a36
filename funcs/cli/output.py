"""How results are printed: tables for people, documents for programs.

Law: results on standard output, in one shape for every command; an empty list is a document with no items. No IO but
the printing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click


def document(kind: str, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The versioned envelope of lists."""
    return {"apiVersion": "funcs.dev/v1", "kind": kind, "items": list(items)}


def emit(value: Any, form: str) -> None:
    """Print a document as JSON or YAML."""
    if form == "yaml":
        import yaml

        click.echo(yaml.safe_dump(value, sort_keys=False), nl=False)
    else:
        click.echo(json.dumps(value, indent=2))


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as kubectl prints them: upper-case heads, three spaces between."""
    cells = [list(heads), *([str(cell) if cell not in (None, "") else "<none>" for cell in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(heads))]
    for row in cells:
        click.echo("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
