"""The tools of MCP servers: programs that are started, and addresses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.tools import BaseTool

from las_langchain.chain_settings import AgentSettings, MCPServer
from las_langchain.errors import ConfigurationError, in_a_line
from las_langchain.transports.background import BACKGROUND

if TYPE_CHECKING:
    from langchain_mcp_adapters.client import MultiServerMCPClient

Json = dict[str, Any]
logger = logging.getLogger(__name__)


class _WithoutValues(logging.Filter):
    """Keeps the variables of programs out of the log, where the library writes those with ``${`` in them."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Take the values out of *record*; it is logged in any case."""
        if isinstance(record.args, tuple):
            record.args = (*record.args[:1], *["***"] * len(record.args[1:]))
        return True


_WITHOUT_VALUES = _WithoutValues()


def served_tools(settings: AgentSettings) -> Mapping[str, list[BaseTool]]:
    """The tools of every server, by the server's name.

    One that does not start or answer in time is logged and has none. Each call of a tool is a session of its own.

    Raises:
        ConfigurationError: the package for MCP is missing.
    """
    try:
        from langchain_mcp_adapters.client import MultiServerMCPClient
    except ImportError as error:
        raise ConfigurationError(
            f"[agent.mcp] needs an extra: pip install 'las-langchain[chains]' ({error})", param="agent"
        ) from None
    logging.getLogger("langchain_mcp_adapters.sessions").addFilter(_WITHOUT_VALUES)
    connections: Any = {name: _connection(server, settings.tool_timeout) for name, server in settings.mcp.items()}
    return BACKGROUND.run(_all(MultiServerMCPClient(connections), settings.tool_timeout))


def _connection(server: MCPServer, timeout: float) -> Json:
    if server.command is None:
        headers = {name: str(value) for name, value in server.headers.items()}
        return {"transport": server.transport, "url": str(server.url), "headers": headers, "timeout": timeout}
    connection: Json = {
        "transport": "stdio",
        "command": server.command,
        "args": list(server.args),
        # Added to the few variables that the library hands on.
        "env": {name: value.get_secret_value() for name, value in server.env.items()},
    }
    return connection if server.cwd is None else {**connection, "cwd": server.cwd}


async def _all(client: MultiServerMCPClient, timeout: float) -> dict[str, list[BaseTool]]:  # noqa: ASYNC109
    names = list(client.connections)
    found = await asyncio.gather(*(_of(client, name, timeout) for name in names))
    return dict(zip(names, found, strict=True))


async def _of(client: MultiServerMCPClient, name: str, timeout: float) -> list[BaseTool]:  # noqa: ASYNC109
    try:
        async with asyncio.timeout(timeout):
            return [tool for tool in await client.get_tools(server_name=name) if _has_arguments(tool, name)]
    except TimeoutError:
        reason = f"it did not answer within {timeout:g} seconds"
    except Exception as error:
        reason = in_a_line(error)
    logger.error("The MCP server %s cannot be used: %s", name, reason)
    return []


def _has_arguments(tool: BaseTool, server: str) -> bool:
    """Whether the schema of *tool* is one of arguments; providers refuse every request that has any other."""
    if not isinstance(tool.args_schema, dict):
        return True
    # Some servers write none for a tool that takes nothing.
    tool.args_schema = {"type": "object", "properties": {}, **tool.args_schema}
    if tool.args_schema["type"] == "object":
        return True
    logger.warning("The tool %s of the MCP server %s is left out: its arguments are no object", tool.name, server)
    return False
