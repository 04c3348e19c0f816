"""LangServe's playgrounds in Chromium, on real servers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import browser, opened
from tests.conftest import Server
from tests.fake_openai import FakeOpenAI, Reply, ToolCall
from tests.media import png

NOT_YET = "..."
STEADY = 6
"""Looks, a tenth of a second apart, at which a field holds what was filled in."""


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as running:
        yield running


def field(page: Page, label: str) -> Locator:
    """The field of the form with this label."""
    return page.locator(f"xpath=//*[normalize-space(translate(text(), '*', ''))='{label}']/following::textarea[1]")


def fill(box: Locator, text: str) -> None:
    """Fill *box* in, again where the page begins its form anew, as it does a while after it has opened."""
    kept = 0
    for _ in range(100):
        kept = kept + 1 if box.input_value() == text else 0
        if kept == STEADY:
            return
        if not kept:
            box.fill(text)
        box.page.wait_for_timeout(100)
    raise AssertionError(f"the page does not keep {text!r}")


def say(page: Page, text: str) -> None:
    """Fill in the last message of the form's conversation."""
    fill(page.locator("textarea").last, text)


def run(page: Page) -> str:
    """Start, and wait for the whole output."""
    page.get_by_role("button", name="Start").click()
    box = page.get_by_role("heading", name="Output").locator("xpath=following-sibling::div[1]")
    expect(box).not_to_have_text(NOT_YET)
    # While it runs, there is a button that stops it.
    expect(page.get_by_role("button", name="Start")).to_be_visible()
    return box.inner_text()


class TestTheEmbeddedModel:
    def test_two_turns_on_the_chat_playground(self, chrome: Browser, server: Server) -> None:
        with opened(chrome, f"{server.url}/chains/chat/chat/playground/", "chat playground") as page:
            for turn, (said, heard) in enumerate(
                [("What is the capital of France?", "Paris|France"), ("Thank you!", ".+")], 1
            ):
                say(page, said)
                with page.expect_response("**/stream_log") as answer:
                    page.keyboard.press("Enter")
                answer.value.finished()
                # The newest message is the first in the page's order, the one that is being written the last.
                messages = page.locator("textarea")
                expect(messages).to_have_count(2 * turn + 1)
                expect(messages.first).to_have_value(re.compile(heard))

    def test_chat(self, chrome: Browser, server: Server) -> None:
        with opened(chrome, f"{server.url}/chains/chat/playground/", "chat") as page:
            fill(field(page, "Thread"), "playground")
            say(page, "What is the capital of France?")
            assert re.search("Paris|France", run(page))


class TestTheBuiltInChains:
    def test_rag(self, chrome: Browser, chain_server: Server, upstream: FakeOpenAI, documents: Path) -> None:
        upstream.enqueue(Reply(content="Three years [1].", chunk_delay=0.05))
        with opened(chrome, f"{chain_server.url}/chains/rag/playground/", "rag") as page:
            say(page, "How long is the guarantee of the Zephyr kettle?")
            assert run(page) == f"Three years [1].\n\nSources:\n[1] {documents}/kettle.md, line 1"

    def test_rag_as_a_chat(self, chrome: Browser, chain_server: Server, upstream: FakeOpenAI) -> None:
        with opened(chrome, f"{chain_server.url}/chains/rag/chat/playground/", "rag chat") as page:
            say(page, "Who won the war of the onions on the moon?")
            page.keyboard.press("Enter")
            expect(page.locator("textarea").first).to_have_value("That is not in the documents.")
        assert upstream.requests == []

    def test_agent(self, chrome: Browser, chain_server: Server, upstream: FakeOpenAI) -> None:
        call = ToolCall("calculator", {"expression": "12 * 7"})
        upstream.enqueue(Reply(tool_calls=[call]), Reply(content="It is 84."))
        with opened(chrome, f"{chain_server.url}/chains/agent/playground/", "agent") as page:
            say(page, "What is 12 times 7?")
            assert run(page) == "It is 84."

    def test_extract(self, chrome: Browser, chain_server: Server, upstream: FakeOpenAI) -> None:
        upstream.enqueue(Reply(content='{"name": "Maria", "age": 34}'))
        with opened(chrome, f"{chain_server.url}/chains/extract/playground/", "extract") as page:
            # The form begins with an example.
            assert json.loads(run(page)) == {"name": "Maria", "age": 34}

    def test_summarize(self, chrome: Browser, chain_server: Server, upstream: FakeOpenAI) -> None:
        upstream.enqueue(Reply(content="Ada came and left."))
        with opened(chrome, f"{chain_server.url}/chains/summarize/playground/", "summarize") as page:
            fill(field(page, "Text"), "Ada came. She looked around. Ada left.")
            assert run(page) == "Ada came and left."

    def test_vision_with_an_upload(
        self, chrome: Browser, chain_server: Server, upstream: FakeOpenAI, tmp_path: Path
    ) -> None:
        (tmp_path / "square.png").write_bytes(png())
        upstream.enqueue(Reply(content="A small square."))
        with opened(chrome, f"{chain_server.url}/chains/vision/playground/", "vision") as page:
            page.locator("input[type=file]").set_input_files(tmp_path / "square.png")
            assert run(page) == "A small square."
        (text, image) = upstream.last.body["messages"][-1]["content"]
        assert text["text"] == "What is in this picture?"
        assert image["image_url"]["url"].startswith("data:image/png;base64,")

    def test_compare(self, chrome: Browser, chain_server: Server, upstream: FakeOpenAI) -> None:
        upstream.enqueue(Reply(content="Light is scattered."))
        with opened(chrome, f"{chain_server.url}/chains/compare/playground/", "compare") as page:
            (result,) = json.loads(run(page))["results"]
        assert (result["model"], result["answer"]) == ("openai/gpt-4o", "Light is scattered.")


class TestAUsersChains:
    def test_a_prompts_variable(self, chrome: Browser, chain_server: Server, upstream: FakeOpenAI) -> None:
        upstream.enqueue(Reply(content="Two cats walk into a bar."))
        with opened(chrome, f"{chain_server.url}/chains/joke/playground/", "joke") as page:
            fill(field(page, "Topic"), "cats")
            assert run(page) == "Two cats walk into a bar."
        assert upstream.last.body["messages"][0]["content"] == "Tell a joke about cats"

    def test_a_raw_agent_with_a_thread(self, chrome: Browser, chain_server: Server, upstream: FakeOpenAI) -> None:
        upstream.enqueue(Reply(tool_calls=[ToolCall("weather", {"city": "Rome"})]), Reply(content="It is sunny."))
        with opened(chrome, f"{chain_server.url}/chains/clerk/playground/", "clerk") as page:
            fill(field(page, "Thread"), "playground")
            say(page, "What is the weather in Rome?")
            assert run(page) == "It is sunny."

    def test_an_object(self, chrome: Browser, chain_server: Server) -> None:
        with opened(chrome, f"{chain_server.url}/chains/fields/playground/", "object") as page:
            say(page, "hey")
            assert json.loads(run(page)) == {"said": "hey", "length": "3"}
