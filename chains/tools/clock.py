"""The tool ``clock``: the date and time, anywhere."""

from __future__ import annotations

import difflib
import re
from datetime import datetime
from functools import cache
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from langchain_core.tools import BaseTool, StructuredTool

from las_langchain.errors import BadRequestError
from las_langchain.threads import in_thread

DESCRIPTION = "What time is it now? What year, date or day of the week is it? Here, or in a city or timezone."
_ZONE = "IANA timezone such as Europe/Paris, or its city; left out for the local time"
_LONGEST = 100
_NO_PLACE = frozenset(
    "a am and at clock current currently date day exact give here hour is it its know local month my no now of please "
    "right s tell the time today todays tonight week what whats when which year you me do does show get".split()
)
"""Words of a question that names no place; small models hand it on where a timezone is asked for."""
_REGION = re.compile(r"(Africa|America|Antarctica|Asia|Atlantic|Australia|Europe|Indian|Pacific)/")


@cache
def _zones() -> dict[str, str]:
    """The zones' names by what people write for them: the name itself, and the city in it."""
    names = sorted(available_timezones())
    regional = [name for name in names if _REGION.match(name)]
    by_city = {_plain(name.rpartition("/")[2]): name for name in reversed(regional)}
    return {**by_city, **{_plain(name): name for name in names}}


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


def _zone(written: str) -> ZoneInfo:
    """The zone that *written* names, or a city in it.

    Raises:
        BadRequestError: there is none; the message has the nearest names.
    """
    name = _plain(written[:_LONGEST]).strip(" ?.!,")
    zones = _zones()
    # A sentence may name it: the longest run of words that does.
    words = re.sub(r"[?.!,]", " ", name).split()
    runs = [" ".join(words[start:end]) for start in range(len(words)) for end in range(len(words), start, -1)]
    for candidate in [name, *sorted(runs, key=len, reverse=True)]:
        if candidate in zones:
            return ZoneInfo(zones[candidate])
    near = [zones[one] for one in difflib.get_close_matches(name, zones, n=3, cutoff=0.7)]
    hint = f"the nearest are {', '.join(dict.fromkeys(near))}" if near else "expected a name such as Europe/Paris"
    raise BadRequestError(f"There is no timezone {written!r:.60}: {hint}", param="timezone")


def told(timezone: str | None = None) -> str:
    """The date and time now.

    Args:
        timezone: an IANA name, or a city that one is named after; None, or a text that names no place: this machine's.

    Raises:
        BadRequestError: there is no such timezone.
    """
    here = set(re.findall(r"\w+", (timezone or "").casefold().replace("'", ""))) <= _NO_PLACE
    now = datetime.now().astimezone() if here else datetime.now(_zone(str(timezone)))
    offset = f"{now:%z}"
    place = f" in {now.tzinfo.key.replace('_', ' ')}" if isinstance(now.tzinfo, ZoneInfo) else ""
    return f"{now:%A}, {now.day} {now:%B %Y}, {now:%H:%M:%S}{place} (UTC{offset[:3]}:{offset[3:5]})"


async def _tell(timezone: Annotated[str | None, _ZONE] = None) -> str:
    # The names of the zones are files.
    return await in_thread(lambda: told(timezone))


def tool() -> BaseTool:
    """The tool."""
    return StructuredTool.from_function(coroutine=_tell, name="clock", description=DESCRIPTION)
