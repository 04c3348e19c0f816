"""Turns of a conversation come one after the other, and a model gets as many of them as it can read."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from chains.memory.turns import Turns

# Turns


async def test_turns_of_a_conversation_are_one_after_the_other() -> None:
    turns, order = Turns(), list[str]()

    async def take(name: str, thread: str, seconds: float) -> None:
        async with turns.turn(thread):
            order.append(f"{name} begins")
            await asyncio.sleep(seconds)
            order.append(f"{name} ends")

    await asyncio.gather(take("first", "t", 0.1), take("second", "t", 0), take("other", "u", 0.05))

    assert order == ["first begins", "other begins", "other ends", "first ends", "second begins", "second ends"]


async def test_giving_up_does_not_let_the_next_one_in() -> None:
    turns, order = Turns(), list[str]()

    async def take(name: str) -> None:
        async with turns.turn("t"):
            order.append(name)
            await asyncio.sleep(0.05)
            order.append(f"{name} ends")

    first = asyncio.create_task(take("first"))
    impatient = asyncio.create_task(take("impatient"))
    await asyncio.sleep(0.01)
    impatient.cancel()
    third = asyncio.create_task(take("third"))
    await asyncio.wait([first, impatient, third])

    assert order == ["first", "first ends", "third", "third ends"]
    assert impatient.cancelled()


def test_turns_in_several_event_loops() -> None:
    turns, inside, most = Turns(), 0, 0

    async def take() -> None:
        nonlocal inside, most
        async with turns.turn("t"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    async def take_many() -> None:
        await asyncio.gather(*[take() for _ in range(5)])

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(asyncio.run, take_many()) for _ in range(4)]:
            done.result()

    assert most == 1
