"""Processes that are measured: their processor time and their memory, with all threads and children."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PATIENCE = 10.0
"""Seconds that a process gets to end when it is told to."""
_TICKS = os.sysconf("SC_CLK_TCK")


class Ended(Exception):
    """A process is gone that should run; the message has its last words."""


def family(pid: int) -> list[int]:
    """*pid* and its children, their children and so on."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, task.read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """Processor seconds that *pid* and its children have used so far, those that have ended included."""
    return sum(map(_own_seconds, family(pid))) + _ended_children(pid)


def _own_seconds(pid: int) -> float:
    # The number of a process's clock, as clock_getcpuclockid(3) makes it; it counts nanoseconds, /proc hundredths.
    with contextlib.suppress(OSError):
        return time.clock_gettime((~pid << 3) | 2)
    return 0.0


def _ended_children(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / _TICKS
    return 0.0


def resident_mb(pid: int) -> float:
    """Megabytes of memory that *pid* and its children hold."""
    pages = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Process:
    """A process that ends with the ``with`` statement it is in, and its children with it.

    Args:
        command: its command line.
        environment: all of its variables.
        folder: where it works, and its output is: ``out.log`` and ``err.log``.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self._folder = folder
        self.began = time.perf_counter()
        with (folder / "out.log").open("wb") as out, (folder / "err.log").open("wb") as err:
            # In a session of its own: Ctrl+C is for the benchmark, which then ends its processes one by one.
            self._process = subprocess.Popen(
                command,
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def check(self) -> None:
        """Check that it runs.

        Raises:
            Ended: it does not.
        """
        if self._process.poll() is not None:
            said = (self._folder / "err.log").read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise Ended(f"ended with code {self._process.returncode}: {said[-1][:300]}")

    def output(self) -> str:
        """What it has written to standard output so far."""
        return (self._folder / "out.log").read_text(errors="replace")

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.terminate()
            self._process.wait(PATIENCE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
