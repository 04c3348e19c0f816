"""The pages that the server shows to people: static files, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import las_langchain
from las_langchain.providers import available_models
from las_langchain.settings import LASSettings

LISTED_MODELS = 40


def index_page(settings: LASSettings, chains: Sequence[Mapping[str, Any]]) -> str:
    """The page at ``/``: what is served, with snippets to copy.

    Args:
        settings: those in force.
        chains: what ``GET /chains`` says of each.
    """
    template = Template((files(__name__) / "index.html").read_text(encoding="utf-8"))
    models = available_models(settings)
    items = "".join(f"<li><code>{escape(name)}</code></li>" for name in models[:LISTED_MODELS])
    more = len(models) - LISTED_MODELS
    return template.substitute(
        version=escape(las_langchain.__version__),
        model=escape(settings.model),
        embedding_model=escape(settings.embedding_model),
        models=items,
        chains="".join(map(_row, chains)),
        more=f'<p>and {more} more: <a href="/v1/models">/v1/models</a></p>' if more > 0 else "",
    )


def _row(chain: Mapping[str, Any]) -> str:
    name = escape(chain["name"])
    if chain["error"]:
        return f"<tr><td><code>{name}</code></td><td>{escape(chain['error'])}</td></tr>"
    links = [f'<a href="{chain[page]}">{label}</a>' for page, label in _PAGES.items() if chain[page]]
    return f"<tr><td><code>{name}</code></td><td>{escape(chain['description'])} {', '.join(links)}</td></tr>"


_PAGES = {"playground": "Playground", "chat_playground": "chat"}
