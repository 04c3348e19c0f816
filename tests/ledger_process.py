"""Records for the ledger, and a program that writes them, so that tests can start, kill and fork it.

    python -m tests.ledger_process <address> count <number> <how>    write so many, one after the other
    python -m tests.ledger_process <address> forever <how>           write from eight threads until killed
    python -m tests.ledger_process <address> fork <how>              write, fork while threads write, write in both
    python -m tests.ledger_process <address> limit <how>             write where files may not grow, then where they may

They write in threads (``write``), or on an event loop in each of these (``aadd``).
Each prints the id of a record on a line of its own once the ledger has acknowledged it.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from las_langchain.callers import Caller
from las_langchain.errors import LASError
from las_langchain.records import CallRecord, Tokens
from las_langchain.usage import Ledger

THREADS = 8
CHILDREN = 3
ROWS = 40


ROOT = Path(__file__).parents[1]


@contextmanager
def writing(url: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """This program, started on the ledger at *url*; it and its children end with the block."""
    command = [sys.executable, "-m", "tests.ledger_process", url, *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def record(key_id: str | None = None, chain: str | None = None, **fields: Any) -> CallRecord:
    """A call that went well, unless *fields* say else."""
    given = {"operation": "chat", "asked": "gpt-4o", "model": "openai/gpt-4o", "status": "ok", "status_code": 200}
    given |= {"tokens": Tokens(prompt=10, completion=5), "cost_usd": 0.25, "seconds": 1.5, "attempts": 1}
    return CallRecord(**{**given, "caller": Caller(key_id=key_id, chain=chain), **fields})


def written(ledger: Ledger, key_id: str | None, goes_on: Callable[[], bool]) -> None:
    """Write records with ``write``, each followed by its id in one piece even where several processes print."""
    while goes_on():
        added = record(key_id)
        ledger.write(added)
        os.write(1, f"{added.id}\n".encode())


def awaited(ledger: Ledger, key_id: str | None, goes_on: Callable[[], bool]) -> None:
    """The same with ``aadd``, on an event loop."""

    async def run() -> None:
        while goes_on():
            added = record(key_id)
            await ledger.aadd(added)
            os.write(1, f"{added.id}\n".encode())

    asyncio.run(run())


Write = Callable[[Ledger, str | None, Callable[[], bool]], None]
HOW: dict[str, Write] = {"write": written, "aadd": awaited}


def times(number: int) -> Callable[[], bool]:
    """True so often, then False."""
    left = iter(range(number))
    return lambda: next(left, None) is not None


def count(ledger: Ledger, number: str, how: str = "write") -> None:
    HOW[how](ledger, None, times(int(number)))


def forever(ledger: Ledger, how: str = "write") -> None:
    _in_threads(ledger, HOW[how], lambda: True)


def fork(ledger: Ledger, how: str = "write") -> None:
    write, waiting = HOW[how], [CHILDREN]
    write(ledger, None, times(1))
    writing = threading.Thread(target=_in_threads, args=[ledger, write, lambda: bool(waiting[0])])
    writing.start()
    children = [_child(ledger, write) for _ in range(CHILDREN)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    waiting[0] = 0
    writing.join()
    write(ledger, None, times(1))
    sys.exit(max(codes))


def limit(ledger: Ledger, how: str = "write") -> None:
    write = HOW[how]
    write(ledger, None, times(2))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(f"{ledger.where}-wal").stat().st_size + 1, hard))
    try:
        write(ledger, None, times(1))
    except LASError as error:
        print(f"refused: {error}", flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    write(ledger, None, times(2))


def _in_threads(ledger: Ledger, write: Write, goes_on: Callable[[], bool]) -> None:
    threads = [threading.Thread(target=write, args=[ledger, None, goes_on]) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _child(ledger: Ledger, write: Write) -> int:
    child = os.fork()
    if child:
        return child
    # A child must never return into its parent's code.
    try:
        write(ledger, "child", times(ROWS))
        assert "postgresql" in ledger.where or _holds_a_lock(ledger.where), "the child writes without a lock"
        ledger.close()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _holds_a_lock(file: str) -> bool:
    """Whether this process locks *file*, as every SQLite connection in WAL mode does for as long as it is open."""
    locks = Path("/proc/locks")
    if not locks.exists():
        return True
    number = str(Path(file).stat().st_ino)
    fields = [line.split() for line in locks.read_text().splitlines()]
    return any(field[4] == str(os.getpid()) and field[5].split(":")[-1] == number for field in fields)


if __name__ == "__main__":
    address, command, *arguments = sys.argv[1:]
    {"count": count, "forever": forever, "fork": fork, "limit": limit}[command](Ledger(address), *arguments)
