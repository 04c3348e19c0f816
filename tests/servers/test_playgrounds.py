"""LangServe's playgrounds in Chromium, on real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import browser, opened
from tests.conftest import Server
from tests.fake_openai import FakeOpenAI, Reply, ToolCall


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as running:
        yield running


def start(page: Page) -> None:
    page.get_by_role("button", name="Start").click()


def output(page: Page) -> str:
    """The output, once there is some."""
    box = page.get_by_role("heading", name="Output").locator("xpath=following-sibling::div[1]")
    expect(box).not_to_have_text("...")
    # The page shows that the run goes on by a button that stops it.
    expect(page.get_by_role("button", name="Start")).to_be_visible()
    return box.inner_text()


def fill(page: Page, label: str, text: str) -> None:
    page.locator(f"xpath=//*[normalize-space(translate(text(), '*', ''))='{label}']/following::textarea[1]").fill(text)


class TestAUsersChains:
    def test_a_prompts_variable(self, chrome: Browser, chain_server: Server, upstream: FakeOpenAI) -> None:
        upstream.enqueue(Reply(content="Two cats walk into a bar."))
        with opened(chrome, f"{chain_server.url}/chains/joke/playground/", "joke") as page:
            fill(page, "Topic", "cats")
            start(page)
            assert output(page) == "Two cats walk into a bar."
        assert upstream.requests[-1].body["messages"][0]["content"] == "Tell a joke about cats"

    def test_a_raw_agent_with_a_thread(self, chrome: Browser, chain_server: Server, upstream: FakeOpenAI) -> None:
        upstream.enqueue(Reply(tool_calls=[ToolCall("weather", {"city": "Rome"})]), Reply(content="It is sunny."))
        with opened(chrome, f"{chain_server.url}/chains/agent/playground/", "agent of a user") as page:
            fill(page, "Thread", "playground")
            page.locator("textarea").last.fill("What is the weather in Rome?")
            start(page)
            assert output(page) == "It is sunny."

    def test_an_object(self, chrome: Browser, chain_server: Server) -> None:
        with opened(chrome, f"{chain_server.url}/chains/fields/playground/", "object") as page:
            page.locator("textarea").last.fill("hey")
            start(page)
            assert '"length": "3"' in output(page)
