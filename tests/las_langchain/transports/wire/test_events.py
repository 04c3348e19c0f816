"""Server-sent events, however they are written and cut."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from las_langchain.errors import APIError
from las_langchain.transports.wire.events import LARGEST, EventReader

ENDS = (b"\n", b"\r\n", b"\r")
BOM = b"\xef\xbb\xbf"
VALUES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12).map(str.encode)
LINES = st.one_of(
    st.builds(lambda space, value: b"data:" + space + value, st.sampled_from([b"", b" "]), VALUES),
    st.builds(
        lambda name, value: name + b": " + value, st.sampled_from([b"", b"event", b"id", b"retry", b"Data"]), VALUES
    ),
    st.sampled_from([b"data", b"data: ", b"data:", b"datas: no", b" data: no", b":", b"id"]),
    VALUES,
)


def expected(stream: bytes) -> list[bytes]:
    """What the standard's rules say, line by line; with the last event, whatever is missing behind it."""
    found: list[bytes] = []
    said: list[bytes] = []
    for line in (*re.split(rb"\r\n|\n|\r", stream.removeprefix(BOM)), b""):
        name, _, value = line.partition(b":")
        if name == b"data":
            said.append(value.removeprefix(b" "))
        elif not line and said:
            found.append(b"\n".join(said))
            said = []
    return found


def read(pieces: Iterable[bytes]) -> list[bytes]:
    reader = EventReader()
    return [data for piece in pieces for data in reader.feed(piece)] + reader.end()


def cut(stream: bytes, places: Iterable[int]) -> Iterator[bytes]:
    start = 0
    for place in sorted(place % (len(stream) + 1) for place in places):
        yield stream[start:place]
        start = place
    yield stream[start:]


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """A stream whose lines may each have another end, or lack it at the end of the stream."""
    lines = draw(st.lists(st.one_of(LINES, st.just(b"")), max_size=20))
    ends = draw(st.lists(st.sampled_from(ENDS), min_size=len(lines), max_size=len(lines)))
    stream = b"".join(line + end for line, end in zip(lines, ends, strict=True))
    return draw(st.sampled_from([b"", BOM])) + stream + draw(st.sampled_from([b"", b"data: the rest", *ENDS]))


@given(streams(), st.lists(st.integers(0, 400), max_size=12))
@example(BOM + b"data: a\n\n", [1, 2, 3])
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", range(22))
def test_events_are_those_of_the_standard_however_they_are_cut(stream: bytes, places: Iterable[int]) -> None:
    assert read(cut(stream, places)) == expected(stream)


@given(streams())
def test_events_are_the_same_byte_by_byte(stream: bytes) -> None:
    assert read(bytes([byte]) for byte in stream) == expected(stream)


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_any_bytes_are_read_as_the_standard_says(stream: bytes, places: list[int]) -> None:
    assert read(cut(stream, places)) == expected(stream)


@pytest.mark.parametrize("end", ENDS)
def test_an_event_comes_as_soon_as_its_blank_line_has_begun(end: bytes) -> None:
    reader = EventReader()
    assert reader.feed(b"data: now" + end) == []
    assert reader.feed(end[:1]) == [b"now"]
    assert reader.feed(end[1:] + b"data: next" + end + end[:1]) == [b"next"]


def test_what_is_left_comes_once_with_the_end() -> None:
    reader = EventReader()
    assert reader.feed(b"data: a\n\ndata: b\ndata: c") == [b"a"]
    assert reader.end() == [b"b\nc"]
    assert reader.end() == []


@pytest.mark.parametrize("stream", [b"", BOM, BOM[:2], b": ping\n\n: ping\n\n", b"event: done\n\n", b"\n\n\n\r\n"])
def test_what_says_nothing_gives_nothing(stream: bytes) -> None:
    assert read([stream]) == []
    assert read(bytes([byte]) for byte in stream) == []


class Counted(bytes):
    """A piece that counts how often its bytes are looked through."""

    looks = 0

    def __contains__(self, other: Any) -> bool:
        Counted.looks += len(self)
        return super().__contains__(other)


def test_a_huge_event_in_many_pieces_is_looked_through_once_and_joined_once() -> None:
    pieces, piece = 2_000, b"x" * 1_000
    reader, joined = EventReader(), 0

    def count(frame: FrameType, event: str, function: Any) -> None:
        nonlocal joined
        joined += event == "c_call" and function.__name__ == "join"

    reader.feed(b"data: ")
    Counted.looks = 0
    sys.setprofile(count)
    try:
        for _ in range(pieces):
            assert reader.feed(Counted(piece)) == []
        (event,) = reader.feed(b"\n\n")
    finally:
        sys.setprofile(None)
    assert event == piece * pieces
    assert joined == 1
    # For the one end of lines, and for the other.
    assert Counted.looks == 2 * pieces * len(piece)


def test_an_event_without_end_is_refused() -> None:
    reader, piece = EventReader(), b"x" * 1_000_000
    for _ in range(LARGEST // len(piece)):
        reader.feed(piece)
    with pytest.raises(APIError, match="An event of the stream is larger than 64 MB"):
        reader.feed(b"x")


def test_many_events_may_be_larger_together() -> None:
    reader, event = EventReader(), b"data: " + b"x" * 999_992 + b"\n\n"
    for _ in range(LARGEST // len(event) + 2):
        assert len(reader.feed(event[:500_000])) == 0
        assert len(reader.feed(event[500_000:])) == 1
