"""The pages of a server with keys, in a browser that asks people for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.attacks.conftest import KEY
from tests.browser import PATIENCE, browser
from tests.conftest import Server

PAGES = ("/", "/docs", "/chains/chat/playground/", "/chains/chat/chat/playground/")
SAY = """async () => {
    const body = JSON.stringify({model: "openai/gpt-4o", messages: [{role: "user", content: "hello"}]})
    const headers = {"content-type": "application/json"}
    return (await fetch("/v1/chat/completions", {method: "POST", headers, body})).status
}"""


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    """Chromium."""
    with browser() as found:
        yield found


def test_a_key_as_the_password_opens_every_page(attacked: Server, running: Browser) -> None:
    context = running.new_context(http_credentials={"username": "me", "password": KEY})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    refused: list[str] = []
    page.on("response", lambda response: refused.append(response.url) if response.status in (401, 403) else None)
    for path in PAGES:
        answer = page.goto(attacked.url + path, wait_until="networkidle")
        assert answer is not None
        assert answer.status == 200
        expect(page.locator("body")).not_to_be_empty()
    # What a page of the server's own sends goes with the password, too.
    assert page.evaluate(SAY) == 200
    context.close()
    assert refused == []


def test_without_a_key_no_page_opens(attacked: Server, running: Browser) -> None:
    context = running.new_context(http_credentials={"username": "me", "password": "wrong"})
    page = context.new_page()
    answer = page.goto(attacked.url)
    assert answer is not None
    assert answer.status == 401
    context.close()
