"""The agent's tools, as its settings name them."""

from __future__ import annotations

import importlib
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from langchain_core.tools import BaseTool

from las_langchain.chain_settings import AgentSettings
from las_langchain.settings import nearest

logger = logging.getLogger(__name__)

_LONGEST_NAME = 64


def agent_tools(settings: AgentSettings) -> list[BaseTool]:
    """The built-in tools that *settings* name, and those of the MCP servers that answer.

    It waits for the servers, each for as long as a tool may take.
    """
    built_in = [importlib.import_module(f"chains.tools.{name}").tool() for name in dict.fromkeys(settings.tools)]
    if not settings.mcp:
        return built_in
    from chains.tools.mcp import served_tools

    return [*built_in, *named_apart(served_tools(settings), [tool.name for tool in built_in])]


def named_apart(served: Mapping[str, Sequence[BaseTool]], taken: Sequence[str]) -> list[BaseTool]:
    """The tools of all servers under names of their own: with the server's before it where another has the same.

    Args:
        served: the tools of each server.
        taken: names that other tools have.
    """
    counts = Counter([*taken, *(_plain(tool.name) for tools in served.values() for tool in tools)])
    found: dict[str, BaseTool] = {}
    for server, tools in served.items():
        for tool in tools:
            name = _plain(tool.name)
            if counts[name] > 1:
                name = _plain(f"{server}_{tool.name}")
            if name in found or name in taken:
                logger.warning("The tool %s of the MCP server %s is left out: its name is taken", tool.name, server)
                continue
            metadata = {**(tool.metadata or {}), "name_on_server": tool.name}
            found[name] = tool.model_copy(update={"name": name, "metadata": metadata})
    return list(found.values())


def to_approve(tools: Sequence[BaseTool], names: Sequence[str]) -> list[str]:
    """The names of those *tools* that a person must approve each call of, renamed ones included.

    Args:
        tools: all that the agent has.
        names: what the settings say.
    """
    known = {tool.name: {tool.name, (tool.metadata or {}).get("name_on_server", tool.name)} for tool in tools}
    for name in names:
        if not any(name in aliases for aliases in known.values()):
            logger.warning("[agent] approve names %s, which is no tool now%s", name, nearest(name, known))
    return [name for name, aliases in known.items() if aliases.intersection(names)]


def _plain(name: str) -> str:
    """*name* as providers take it."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:_LONGEST_NAME] or "tool"
