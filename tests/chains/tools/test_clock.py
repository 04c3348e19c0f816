"""The time, here and elsewhere."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from chains.tools.clock import tool
from las_langchain.errors import BadRequestError


async def tell(**given: str | None) -> str:
    return str(await tool().ainvoke(given))


@pytest.mark.parametrize(
    ("written", "zone"),
    [
        ("Asia/Tokyo", "Asia/Tokyo"),
        ("europe/paris", "Europe/Paris"),
        ("new york", "America/New_York"),
        ("What time is it in São Paulo, or in London?", "Europe/London"),
        ("UTC", "UTC"),
        ("Asia/Kathmandu", "Asia/Kathmandu"),
    ],
)
async def test_a_zone_is_known_by_its_name_and_its_city(written: str, zone: str) -> None:
    told = await tell(timezone=written)

    now = datetime.now(ZoneInfo(zone))
    shown = datetime.strptime(re.search(r"\d+ \w+ \d{4}, [\d:]{8}", told)[0], "%d %B %Y, %H:%M:%S")  # type: ignore[index]
    assert abs((now.replace(tzinfo=None) - shown).total_seconds()) < 5
    assert f"{now:%z}"[:3] in told
    assert zone.replace("_", " ") in told


@pytest.mark.parametrize("written", [None, "", "  ", "What time is it?", "today"])
async def test_a_question_about_no_place_is_about_this_one(written: str | None) -> None:
    assert f"{datetime.now(UTC).astimezone():%A}" in await tell(timezone=written)


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("Tokio", "the nearest are Asia/Tokyo"),
        ("Europe/Pariss", "Europe/Paris"),
        ("Qqqq", "expected a name such as Europe/Paris"),
        ("../../etc/passwd", "There is no timezone"),
        ("x" * 10_000, "There is no timezone"),
        ("\x00ü", "There is no timezone"),
    ],
)
async def test_what_is_no_zone_is_refused_with_the_nearest(written: str, hint: str) -> None:
    with pytest.raises(BadRequestError, match=hint) as caught:
        await tell(timezone=written)

    assert len(str(caught.value)) < 300
