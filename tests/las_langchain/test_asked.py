"""What is asked of a chain's models from outside."""

from __future__ import annotations

import asyncio

import pytest

from las_langchain import ChatLAS
from las_langchain.asked import FIELDS, asked_fields, asking, fitting
from tests.fake_openai import FakeOpenAI

ALL = dict.fromkeys(FIELDS, 1)


def test_blocks_add_up_and_end() -> None:
    with asking(temperature=0.5, stop=["x"]):
        with asking(stop=None, seed=1):
            assert asked_fields() == {"temperature": 0.5, "seed": 1}
        assert asked_fields() == {"temperature": 0.5, "stop": ["x"]}
    assert asked_fields() == {}


def test_only_what_is_left_open_is_filled(upstream: FakeOpenAI) -> None:
    model = ChatLAS(model="openai/gpt-4o", top_p=0.5)
    with asking(temperature=0.5, top_p=0.9, max_tokens=5, seed=3):
        model.bind(seed=4).invoke("hello", max_completion_tokens=6)
        body = upstream.last.body
        assert (body["temperature"], body["top_p"], body["seed"]) == (0.5, 0.5, 4)
        assert body.get("max_tokens", body.get("max_completion_tokens")) == 6
        list(model.stream("hello"))
        assert upstream.last.body["temperature"] == 0.5
        asyncio.run(model.ainvoke("hello"))
        assert upstream.last.body["temperature"] == 0.5
    model.invoke("hello")
    assert "temperature" not in upstream.last.body


@pytest.mark.parametrize(
    ("model", "reasons", "left_out"),
    [
        ("openai/gpt-4o", False, {"top_k", "reasoning_effort", "verbosity"}),
        ("openai/gpt-5-mini", True, FIELDS - {"max_tokens", "seed", "reasoning_effort", "verbosity"}),
        ("openai/o3-mini", True, FIELDS - {"max_tokens", "seed", "reasoning_effort"}),
        ("local/smollm2-135m-instruct", False, {"reasoning_effort", "verbosity"}),
        (
            "anthropic/claude-sonnet-4-5",
            True,
            {"seed", "presence_penalty", "frequency_penalty", "logit_bias", "verbosity"},
        ),
        ("groq/unlisted", False, {"top_k", "reasoning_effort", "verbosity"}),
    ],
)
def test_models_are_not_asked_for_what_they_refuse(model: str, reasons: bool, left_out: set[str]) -> None:
    provider, _, name = model.partition("/")
    assert FIELDS - fitting(ALL, provider, name, reasons=reasons).keys() == left_out
