"""An MCP server for tests, on its standard streams, or with ``--port`` on a port.

Every call is a line in the log file, so that tests can see what was run and what was not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import Any

from mcp.server.fastmcp import FastMCP


def server(log: Path | None, port: int = 0) -> FastMCP[Any]:
    """The server, not yet running."""
    made = FastMCP("tests", host="127.0.0.1", port=port, log_level="ERROR")

    def note(line: str) -> None:
        if log is not None:
            with log.open("a") as file:
                file.write(line + "\n")

    @made.tool()
    def shout(text: str) -> str:
        """Write a text in capital letters."""
        note(f"shout {text}")
        return text.upper()

    @made.tool()
    def delete_file(name: str) -> str:
        """Delete a file."""
        note(f"delete_file {name}")
        return f"{name} is deleted"

    @made.tool()
    def fail(reason: str) -> str:
        """Fail for a reason."""
        note(f"fail {reason}")
        raise RuntimeError(reason)

    @made.tool()
    async def wait(seconds: float) -> str:
        """Wait for some seconds."""
        note(f"wait {seconds}")
        try:
            await asyncio.sleep(seconds)
        finally:
            note("wait is over")
        return "waited"

    @made.tool()
    def variables(names: str) -> str:
        """Tell the values of environment variables."""
        return " ".join(os.environ.get(name, "unset") for name in names.split())

    @made.tool()
    def repeat(text: str, times: int) -> str:
        """Repeat a text."""
        return text * times

    @made.tool()
    def calculator(expression: str) -> str:
        """Another calculator."""
        return f"another {expression}"

    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", type=Path)
    parser.add_argument("--port", type=int)
    given = parser.parse_args()
    server(given.log, given.port or 0).run("streamable-http" if given.port else "stdio")
