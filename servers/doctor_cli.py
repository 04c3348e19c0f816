"""``las doctor``: what is in force, by which transport calls go, and what is wrong."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from servers.diagnosis import Diagnosis

WRONG = 1
"""The exit code where there are problems."""
WIDE = 240
"""Columns where no terminal shows them: nobody should have to search a file for half an address."""


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False) -> None:
    """Say what is set, by which transport calls go and why, and what is wrong; no provider is asked."""
    from las_langchain.settings import load_settings
    from servers.diagnosis import diagnose

    found = diagnose(load_settings)
    if as_json:
        print(json.dumps(asdict(found), indent=2))
    else:
        _print(found)
    if found.problems:
        raise typer.Exit(WRONG)


def _print(found: Diagnosis) -> None:
    from rich.console import Console

    # Names are names, whatever brackets and colons they hold.
    console = Console(highlight=False, markup=False, emoji=False)
    if not sys.stdout.isatty():
        console.width = WIDE
    console.print(_facts(found))
    if found.ways:
        console.print(_ways(found))
    if found.missing:
        names = ", ".join(f"{name} ({variable})" for name, variable in found.missing.items())
        console.print(f"Not set up, each with the variable for its key: {names}\n", soft_wrap=True)
    _print_problems(console, found)


def _print_problems(console: Console, found: Diagnosis) -> None:
    if not found.problems:
        console.print("No problems found.")
        return
    console.print(f"{len(found.problems)} problem{'s' if len(found.problems) > 1 else ''}:", style="bold")
    for problem in found.problems:
        # A line stays a line, for who searches them.
        console.print(f"- {_printable(problem)}", soft_wrap=True)


def _facts(found: Diagnosis) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for title, text in _lines(found):
        table.add_row(title, _printable(text))
    return table


def _lines(found: Diagnosis) -> list[tuple[str, str]]:
    lines = [("Versions", ", ".join(f"{name} {number}" for name, number in found.versions.items()))]
    files = ", ".join(f"{name} ({path})" for name, path in found.settings.items())
    lines.append(("Settings", files or "the environment and defaults"))
    if found.data_dir:
        installed = (f"{name} ({'installed' if there else 'not installed'})" for name, there in found.embedded.items())
        lines += [
            ("Data", f"{found.data_dir} ({'writable' if found.writable else 'not writable'})"),
            ("Ledger", found.ledger),
            ("Cache", found.cache),
            ("Embedded models", ", ".join(installed)),
            ("Callbacks", ", ".join(found.callbacks) or "none"),
        ]
    variables = ", ".join(f"{name}={value}" for name, value in found.variables.items())
    return [*lines, ("Proxies and certificates", variables or "none named")]


def _ways(found: Diagnosis) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for title in ("calls to", "transport", "because", "key", "address"):
        table.add_column(title, overflow="fold", no_wrap=title == "transport")
    for way in found.ways:
        name = way.name if way.kind == "provider" else f"{way.name}: {way.model}"
        cells = (name, way.transport or "none", way.why, way.key, way.address)
        table.add_row(*map(_printable, cells))
    return table


def _printable(text: str) -> str:
    """*text* without what would steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
