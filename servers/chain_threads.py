"""The names of the conversations that chains remember, the same over every endpoint."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from las_langchain.callers import current_caller
from las_langchain.errors import BadRequestError

Json = dict[str, Any]

HEADER = "x-las-thread"
"""Header in which a chat request names its conversation, and its answer too."""
LONGEST_THREAD = 200
"""Letters of a thread's name."""
_NOBODY = "nobody"
"""In the names of threads, the place of a key where there is none."""


def checked_thread(name: Any) -> str | None:
    """*name* as that of a conversation; None: it names none.

    Raises:
        BadRequestError: it is no such name.
    """
    if name is None or name == "":
        return None
    if not isinstance(name, str) or len(name) > LONGEST_THREAD or "\0" in name:
        raise BadRequestError(f"thread_id: expected a text of up to {LONGEST_THREAD} letters", param="thread_id")
    return name


def asked_thread(request: Request, body: Json) -> str | None:
    """The conversation that a chat request names, in its header or else in its ``metadata``.

    Raises:
        BadRequestError: as :func:`checked_thread`.
    """
    return checked_thread(_header(request)) or checked_thread((body.get("metadata") or {}).get("thread_id"))


def _header(request: Request) -> str:
    raw = request.headers.get(HEADER, "").encode("latin-1")
    # Headers have no encoding; clients that send more than ASCII send UTF-8.
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def thread_headers(thread: str | None) -> dict[str, str]:
    """What the headers of an answer tell of its conversation; nothing, if no header can."""
    if thread is None or not thread.isprintable():
        return {}
    return {HEADER: thread.encode().decode("latin-1")}


def namespaced(thread: str) -> str:
    """*thread* told apart from those of other keys."""
    return f"{current_caller().key_id or _NOBODY}:{thread}"
