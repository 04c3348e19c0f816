"""``las cost``: what the ledger knows, as a table or as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from las_langchain.errors import BadRequestError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from las_langchain.settings import LASSettings
    from las_langchain.usage import Group, Ledger, UsageRow

UNKNOWN = "–"
NARROWEST = 12
"""Columns that a name gets on a narrow terminal, where it goes on in the next line."""
WIDE = 240
"""Columns of a table that no terminal shows: nobody should have to search a file for half a model's name."""


def cost(
    by: Annotated[str, typer.Option(help="Add up by model, provider, day, key, chain or status")] = "model",
    since: Annotated[str | None, typer.Option(help="First day, in UTC, as 2026-11-03; default: from the start")] = None,
    until: Annotated[str | None, typer.Option(help="Last day, in UTC; default: until now")] = None,
    key: Annotated[str | None, typer.Option(help="Only the calls made with this key id")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Show what calls used and cost."""
    from las_langchain.settings import load_settings
    from las_langchain.usage import Ledger

    settings = load_settings()
    first, last = _day(since, "--since"), _day(until, "--until")
    with Ledger.of(settings) as ledger:
        rows = ledger.report(_group(by), since=first, until=last, key_id=key)
        total = ledger.totals(since=first, until=last, key_id=key)
        if as_json:
            print(json.dumps({"by": by, "rows": [asdict(row) for row in rows], "total": asdict(total)}, indent=2))
        elif rows:
            _print_table(by, rows, total)
        else:
            print(_nothing(ledger, settings))


def _group(name: str) -> Group:
    from las_langchain.settings import nearest
    from las_langchain.usage import GROUPS

    for group in GROUPS:
        if group == name:
            return group
    raise BadRequestError(f"--by: expected one of {', '.join(GROUPS)}, not {name!r}{nearest(name, GROUPS)}")


def _day(text: str | None, option: str) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise BadRequestError(f"{option}: expected a day such as 2026-11-03, not {text!r}") from None


def _nothing(ledger: Ledger, settings: LASSettings) -> str:
    if ledger.totals().calls:
        return f"No such calls in {ledger.where}"
    reason = "" if settings.enable_cost_tracking else "; LAS_ENABLE_COST_TRACKING is off"
    return f"No calls yet in {ledger.where}{reason}"


def _print_table(by: str, rows: list[UsageRow], total: UsageRow) -> None:
    from rich.console import Console

    # Names are names, whatever brackets and colons they hold.
    console = Console(highlight=False, markup=False, emoji=False)
    table = _table(by, rows, total)
    # A terminal that is too narrow breaks the lines itself; no figure is cut.
    console.width = max(console.width, _least_width(console, table)) if sys.stdout.isatty() else WIDE
    console.print(table)
    if total.unpriced:
        calls = f"{total.unpriced:,} of {total.calls:,} call{'s' if total.calls > 1 else ''}"
        console.print(
            f"The price of {calls} is not known; the sums leave {'it' if total.unpriced == 1 else 'them'} out."
        )


def _least_width(console: Console, table: Table) -> int:
    """Columns of *table* with names in lines of :data:`NARROWEST`."""
    names = table.columns[0]
    names.max_width = NARROWEST
    least = console.measure(table, options=console.options.update(max_width=WIDE)).minimum
    names.max_width = None
    return least


def _table(by: str, rows: list[UsageRow], total: UsageRow) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_footer=True, pad_edge=False, collapse_padding=True)
    titles = ("calls", "errors", "cached", "tokens\nin", "tokens\nout", "cost", "mean\nseconds", "first\ntoken")
    table.add_column(by, "total", overflow="fold", min_width=NARROWEST)
    for title, sum_ in zip(titles, _cells(total), strict=True):
        table.add_column(title, sum_, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(_printable(row.group or UNKNOWN), *_cells(row))
    return table


def _printable(name: str) -> str:
    """*name* without what would steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _cells(row: UsageRow) -> list[str]:
    from las_langchain.usage import dollars

    counts = (row.calls, row.errors, row.cache_hits, row.prompt_tokens, row.completion_tokens)
    price = UNKNOWN if row.cost_usd is None else dollars(row.cost_usd)
    times = (UNKNOWN if mean is None else f"{mean:.2f}" for mean in (row.seconds, row.first_token_seconds))
    return [*(f"{count:,}" for count in counts), price, *times]
