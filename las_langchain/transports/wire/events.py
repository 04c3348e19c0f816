"""Server-sent events out of bytes, however these are cut."""

from __future__ import annotations

from las_langchain.errors import APIError

LARGEST = 64_000_000
"""Bytes of one event; one with an image has a few millions."""
_MARK = b"\xef\xbb\xbf"
"""UTF-8's byte order mark, which a stream may begin with."""


class EventReader:
    """Takes the bytes of a stream as they come, and gives its events.

    Lines may end as the standard allows: in a line feed, a carriage return, or both
    (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream).
    """

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self._size = 0
        self._fresh = True
        self._after_return = False

    def feed(self, data: bytes) -> list[bytes]:
        """The events that *data* completes, each as its ``data``; comments, such as pings, have none.

        Raises:
            APIError: an event is too large.
        """
        if self._fresh:
            data = self._without_mark(data)
        if b"\r" in data or self._after_return:
            data = self._with_line_feeds(data)
        if self._begun:
            if not self._completes(data):
                self._keep(data)
                return []
            data = b"".join((*self._begun, data))
            self._begun, self._size = [], 0
        *events, rest = data.split(b"\n\n")
        if rest:
            self._keep(rest)
        return [said for event in events if (said := _data(event)) is not None]

    def end(self) -> list[bytes]:
        """The last event, if there is nothing behind it, as some servers leave it."""
        said = _data(b"".join(self._begun))
        self._begun, self._size = [], 0
        return [] if said is None else [said]

    def _without_mark(self, data: bytes) -> bytes:
        """What follows the mark; nothing as long as all that came may be a part of it."""
        came = b"".join((*self._begun, data))
        self._begun, self._size = [], 0
        if len(came) < len(_MARK) and _MARK.startswith(came):
            self._keep(came)
            return b""
        self._fresh = False
        return came.removeprefix(_MARK)

    def _completes(self, data: bytes) -> bool:
        return b"\n\n" in data or (data.startswith(b"\n") and self._begun[-1].endswith(b"\n"))

    def _keep(self, data: bytes) -> None:
        if not data:
            return
        # Joined only when it is complete: joining piece by piece takes the square of its length.
        self._begun.append(data)
        self._size += len(data)
        if self._size > LARGEST:
            raise APIError(f"An event of the stream is larger than {LARGEST // 1_000_000} MB")

    def _with_line_feeds(self, data: bytes) -> bytes:
        if self._after_return and data:
            # The other half of a line's end.
            data = data.removeprefix(b"\n")
            self._after_return = False
        self._after_return = self._after_return or data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _data(event: bytes) -> bytes | None:
    """What *event* says; None: nothing."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    lines = [line for line in event.split(b"\n") if line.startswith(b"data:") or line == b"data"]
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines) if lines else None
