"""What every client is asked, and what it is to get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.fake_openai import Reply, ToolCall

Json = dict[str, Any]

MODEL = "openai/gpt-4o"
EMBEDDINGS = "openai/text-embedding-3-small"
LOCAL = "local/smollm2-135m-instruct"
LOCAL_EMBEDDINGS = "local/all-minilm-l6-v2"
AGENT, RAG, JOKE, CHAT = "chains/agent", "chains/rag", "chains/joke", "chains/chat"

WEATHER = "What is the weather in 'Lyon'?"
"""For which the obedient model calls the tool ``get_weather``, and then says what that found."""
FOUND = "The result is: 22 degrees"
ABOUT_LYON = 'The city is "Lyon", and 500 people live there'
LYON = {"city": "Lyon", "population": 500}
LYON_REPLY = Reply(content='{"city": "Lyon", "population": 500}')
WEATHER_CALL = ToolCall("get_weather", {"location": "Lyon"}, "call_1")
WEATHER_TOOL: Json = {
    "name": "get_weather",
    "description": "Get the current weather",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}
COUNT = {"prompt_tokens": 10, "completion_tokens": 5}
BROKEN = Reply(content="a b c d e f", cut_after=4)
"""A stream that ends after three words."""
SAID = "a b c"


@dataclass(frozen=True)
class ChainCase:
    """A chain that is called as a model.

    Attributes:
        model: its name as a model.
        prompt: what it is asked.
        replies: of the model that it calls, one a call; each counts ten tokens in and five out.
        text: its answer.
        reasoning: its steps.
    """

    model: str
    prompt: str
    replies: tuple[Reply, ...]
    text: str
    reasoning: str = ""

    @property
    def tokens(self) -> tuple[int, int, int]:
        """In, out, and both, over all calls."""
        calls = len(self.replies)
        return 10 * calls, 5 * calls, 15 * calls


CHAINS = [
    ChainCase(
        AGENT,
        "What is 12 times 7?",
        (
            Reply(tool_calls=[ToolCall("calculator", {"expression": "12 * 7"})], usage=COUNT),
            Reply(content="It is 84.", usage=COUNT),
        ),
        "It is 84.",
        "calculator(expression='12 * 7')\ncalculator: 84\n",
    ),
    ChainCase(
        RAG,
        "How long is the guarantee of the Zephyr kettle?",
        (Reply(content="It is three years [1].", usage=COUNT),),
        "It is three years [1].\n\nSources:\n[1] {documents}/kettle.md, line 1",
        "Searching the documents for 'How long is the guarantee of the Zephyr kettle?'; 2 passages from 2 files\n",
    ),
    ChainCase(JOKE, "cats", (Reply(usage=COUNT),), "Echo: Tell a joke about cats"),
]
