"""``las ingest``: reads documents for the chains that search them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from las_langchain.errors import BadRequestError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from chains.documents.ingest import Progress, Summary
    from las_langchain.settings import LASSettings


def ingest(
    paths: Annotated[list[str] | None, typer.Argument(help="Files, and folders with all below them")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Print the files that are stored, and their passages")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Forget the files at and below the paths")] = False,
) -> None:
    """Read documents, so that chains can search them; again, to read what has changed and forget what is gone."""
    from las_langchain.service import LiteLLMService, using
    from las_langchain.settings import load_settings

    settings = load_settings()
    _check_packages()
    if list_ and (remove or paths):
        raise BadRequestError("--list: takes neither paths nor --remove")
    if list_:
        _list(settings)
        return
    if not paths:
        raise BadRequestError("Nothing to read: give files or folders, as in `las ingest manual.pdf docs/`")
    if remove:
        from chains.documents.ingest import remove as forget

        print(f"{_files(forget(paths, settings))} removed")
        return
    with using(LiteLLMService(settings)):
        _ingest(paths, settings)


def _ingest(paths: list[str], settings: LASSettings) -> None:
    from chains.documents.ingest import Ingestion

    # What it has to say about broken files is said once, as the reason why they are skipped.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    with _bar() as (told, skipped):
        summary = Ingestion(settings, told=told, skipped=skipped).run(paths)
    if not (summary.read or summary.deleted):
        raise BadRequestError(f"Nothing could be read in {', '.join(paths)}"[:300], param="paths")
    print(_told(summary))


def _told(summary: Summary) -> str:
    parts = ["added", "changed", "unchanged", "deleted"]
    counts = [f"{getattr(summary, part)} {part}" for part in parts]
    again = f"; {_files(summary.embedded_again)} elsewhere embedded again" if summary.embedded_again else ""
    return f"{', '.join(counts)}, {len(summary.skipped)} skipped{again}"


def _list(settings: LASSettings) -> None:
    from chains.documents.store import DocumentStore

    store = DocumentStore.of(settings)
    sources = store.sources()
    for source in sources:
        print(f"{source.passages:>6}  {_printable(source.path)}")
    count = sum(source.passages for source in sources)
    print(f"{_files(len(sources))}, {count} passage{'' if count == 1 else 's'} in {store.file}", file=sys.stderr)


@contextmanager
def _bar() -> Iterator[tuple[Callable[[Progress], None], Callable[[str, str], None]]]:
    """A bar on standard error, if that is a terminal: what moves it, and what prints why a file is skipped."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[passages]} passages", markup=False),
    )
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None, passages=0)

        def told(now: Progress) -> None:
            bar.update(task, completed=now.done, total=now.files, passages=now.passages)

        def skipped(path: str, reason: str) -> None:
            console.print(f"las: {_printable(path)}: skipped, {_printable(reason)}")

        yield told, skipped


def _printable(text: str) -> str:
    """*text* without what would steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"


def _check_packages() -> None:
    import importlib.util

    packages = ("langchain_text_splitters", "bs4", "pypdf", "numpy")
    if any(importlib.util.find_spec(name) is None for name in packages):
        raise ConfigurationError("las ingest needs an extra: pip install 'las-langchain[chains]'")
