"""Records for the ledger, and a program that writes them, so that tests can start, kill and fork it.

    python -m tests.ledger_process <address> count <number>    write so many, one after the other
    python -m tests.ledger_process <address> forever           write from eight threads until killed
    python -m tests.ledger_process <address> fork              write, fork while threads write, write in both
    python -m tests.ledger_process <address> limit             write where files may not grow, then where they may

Each prints the id of a record on a line of its own once the ledger has acknowledged it.
"""

from __future__ import annotations

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


def write(ledger: Ledger, key_id: str | None = None) -> None:
    """Write a record, then say so, in one piece even where several processes share the output."""
    written = record(key_id)
    ledger.write(written)
    os.write(1, f"{written.id}\n".encode())


def count(ledger: Ledger, number: str) -> None:
    for _ in range(int(number)):
        write(ledger)


def forever(ledger: Ledger) -> None:
    _in_threads(ledger, lambda: True)


def fork(ledger: Ledger) -> None:
    write(ledger)
    waiting = [CHILDREN]
    writing = threading.Thread(target=_in_threads, args=[ledger, lambda: bool(waiting[0])])
    writing.start()
    children = [_child(ledger) for _ in range(CHILDREN)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    waiting[0] = 0
    writing.join()
    write(ledger)
    sys.exit(max(codes))


def limit(ledger: Ledger) -> None:
    write(ledger)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(f"{ledger.where}-wal").stat().st_size + 1, hard))
    try:
        write(ledger)
    except LASError as error:
        print(f"refused: {error}", flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    write(ledger)


def _in_threads(ledger: Ledger, goes_on: Callable[[], bool]) -> None:
    def run() -> None:
        while goes_on():
            write(ledger)

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _child(ledger: Ledger) -> int:
    child = os.fork()
    if child:
        return child
    # A child must never return into its parent's code.
    try:
        for _ in range(ROWS):
            write(ledger, "child")
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
