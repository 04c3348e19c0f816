"""Tool calls where the package ``mcp``, which litellm looks for, is not installed."""

from __future__ import annotations

import subprocess
import sys

from tests.fake_openai import FakeOpenAI, Reply, ToolCall

PROGRAM = """
import sys
sys.modules["mcp"] = None
from las_langchain import ChatLAS

def get_weather(city: str) -> str:
    "Get the weather of a city."

model = ChatLAS(model="openai/gpt-4o").bind_tools([get_weather])
print(model.invoke("How is the weather?").tool_calls[0]["args"])
print([chunk for chunk in model.stream("How is the weather?") if chunk.tool_calls][0].tool_calls[0]["name"])
try:
    import mcp
except ModuleNotFoundError:
    print("none")
"""


def test_a_tool_is_called_without_mcp(upstream: FakeOpenAI) -> None:
    upstream.enqueue(*[Reply(tool_calls=[ToolCall("get_weather", {"city": "Paris"})])] * 2)

    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)

    assert done.stdout.splitlines() == ["{'city': 'Paris'}", "get_weather", "none"], done.stderr
