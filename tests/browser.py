"""Chromium, for tests of pages; screenshots are kept in ``.artifacts/``."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

ARTIFACTS = Path(__file__).parent.parent / ".artifacts"
PATIENCE = 60_000
"""Milliseconds that a page may take on a busy machine."""


def chromium() -> str:
    """The path of Chromium; without it the test is skipped."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("Chromium is missing: apt-get install chromium")


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        # Containers run as root, which Chromium's sandbox refuses.
        running = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        expect.set_options(timeout=PATIENCE)
        yield running
        running.close()


@contextmanager
def opened(running: Browser, address: str, picture: str) -> Iterator[Page]:
    """A page at *address*; a screenshot named *picture* is taken at the end, and its errors fail the test."""
    page = running.new_page()
    page.set_default_timeout(PATIENCE)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("response", lambda response: errors.append(response.url) if response.status >= 400 else None)
    try:
        page.goto(address, wait_until="networkidle")
        yield page
    finally:
        ARTIFACTS.mkdir(exist_ok=True)
        page.screenshot(path=ARTIFACTS / f"{re.sub('[^a-z0-9]+', '-', picture)}.png", full_page=True)
        page.close()
    assert not errors
