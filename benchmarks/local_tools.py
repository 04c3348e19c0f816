"""How often the embedded model calls the right tool with the right arguments.

Two sets of six tools: the prompts of the first were looked at while the method was made, those of the second only
afterwards. ``required``: every prompt needs a tool and ``tool_choice`` is ``required``. ``auto``: the same prompts, and
others that need none. A call is right if the tool is and every argument is.

    python benchmarks/local_tools.py            prints the share of right answers per set and mode
    python benchmarks/local_tools.py --wrong    and each wrong one
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from typing import Any

from las_langchain import LASError, LiteLLMService

Json = dict[str, Any]
Case = tuple[str, str, dict[str, str | float]]
BARS = {"required": 0.90, "auto": 0.85}


def tool(name: str, description: str, **properties: Json) -> Json:
    """A tool whose *properties* are all required."""
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def text(description: str, **rule: Any) -> Json:
    """A string property."""
    return {"type": "string", "description": description, **rule}


def number(description: str, kind: str = "number") -> Json:
    """A number property."""
    return {"type": kind, "description": description}


FIRST_TOOLS = [
    tool("get_weather", "Get the current weather for a location", location=text("City name")),
    tool("calculate", "Evaluate an arithmetic expression", expression=text("The expression, e.g. 2 * (3 + 4)")),
    tool("send_email", "Send an email to somebody", to=text("Address of the recipient"), subject=text("Subject line")),
    tool(
        "convert_currency",
        "Convert an amount of money from one currency to another",
        amount=number("Amount to convert"),
        from_currency=text("Three-letter code of the currency to convert from"),
        to_currency=text("Three-letter code of the currency to convert to"),
    ),
    tool("set_timer", "Start a countdown timer", minutes=number("Length of the timer in minutes", "integer")),
    tool("search_documents", "Search the company's documents and policies", query=text("What to look for")),
]
# Expected texts are regular expressions.
FIRST: list[Case] = [
    ("What's the weather in Tokyo?", "get_weather", {"location": "^tokyo$"}),
    ("Is it raining in London right now?", "get_weather", {"location": "london"}),
    ("How warm is it in Cairo today?", "get_weather", {"location": "cairo"}),
    ("Tell me the forecast for Berlin", "get_weather", {"location": "berlin"}),
    ("Do I need an umbrella in Seattle?", "get_weather", {"location": "seattle"}),
    ("Temperature in Oslo please", "get_weather", {"location": "oslo"}),
    ("What is 12 times 7?", "calculate", {"expression": r"^12 ?(\*|times) ?7$"}),
    ("Compute 15 + 27", "calculate", {"expression": r"^15 ?\+ ?27$"}),
    ("How much is 144 divided by 12?", "calculate", {"expression": r"^144 ?(/|divided by) ?12$"}),
    ("Calculate 3.5 * 4", "calculate", {"expression": r"^3\.5 ?\* ?4$"}),
    ("What's 100 minus 37?", "calculate", {"expression": r"^100 ?(-|minus) ?37$"}),
    ("Work out 8 to the power of 3", "calculate", {"expression": r"^8 ?(\^|\*\*|to the power of) ?3$"}),
    ("Email bob@example.com about the meeting", "send_email", {"to": "^bob@example.com$", "subject": "meeting"}),
    (
        "Send a mail to anna@corp.com with the subject Invoice",
        "send_email",
        {"to": "^anna@corp.com$", "subject": "invoice"},
    ),
    ("Write to support@shop.io that my order is late", "send_email", {"to": "^support@shop.io$", "subject": "order"}),
    ("Please email lee@mail.org, subject Holiday plans", "send_email", {"to": "^lee@mail.org$", "subject": "holiday"}),
    (
        "Send an email to hr@company.com regarding my vacation",
        "send_email",
        {"to": "^hr@company.com$", "subject": "vacation"},
    ),
    ("Convert 100 USD to EUR", "convert_currency", {"amount": 100, "from_currency": "USD", "to_currency": "EUR"}),
    (
        "How many yen are 50 dollars? Use JPY and USD",
        "convert_currency",
        {"amount": 50, "from_currency": "USD", "to_currency": "JPY"},
    ),
    ("Change 20 GBP into CHF", "convert_currency", {"amount": 20, "from_currency": "GBP", "to_currency": "CHF"}),
    ("What are 75 EUR in USD?", "convert_currency", {"amount": 75, "from_currency": "EUR", "to_currency": "USD"}),
    ("Exchange 1000 SEK to NOK", "convert_currency", {"amount": 1000, "from_currency": "SEK", "to_currency": "NOK"}),
    (
        "I have 250 CAD, how much is that in USD?",
        "convert_currency",
        {"amount": 250, "from_currency": "CAD", "to_currency": "USD"},
    ),
    ("Set a timer for 10 minutes", "set_timer", {"minutes": 10}),
    ("Remind me in 25 minutes", "set_timer", {"minutes": 25}),
    ("Start a 5 minute countdown", "set_timer", {"minutes": 5}),
    ("Timer, 45 minutes", "set_timer", {"minutes": 45}),
    ("Count down 3 minutes for my tea", "set_timer", {"minutes": 3}),
    ("What does our travel policy say about hotels?", "search_documents", {"query": "travel|hotel"}),
    ("Find the document about parental leave", "search_documents", {"query": "parental"}),
    ("Look up the security guidelines for passwords", "search_documents", {"query": "password|security"}),
    ("Search our docs for the onboarding checklist", "search_documents", {"query": "onboarding"}),
    ("Where is the expense policy described?", "search_documents", {"query": "expense"}),
]
FIRST_NONE = [
    "Hello!",
    "How are you today?",
    "Thank you, that was helpful",
    "Tell me a joke",
    "Who wrote Hamlet?",
    "What is the capital of Peru?",
    "Write a short poem about the sea",
    "What is your name?",
    "Good night",
    "Explain what photosynthesis is",
    "I am feeling sad",
    "Give me a synonym for happy",
]

SECOND_TOOLS = [
    tool("add_task", "Add a task to the to-do list", task=text("What is to be done")),
    tool("get_exchange_rate", "Get the exchange rate of a currency", currency=text("Code of the currency, e.g. EUR")),
    tool(
        "book_flight",
        "Book a flight between two airports",
        origin=text("Where the flight starts"),
        destination=text("Where the flight goes"),
    ),
    tool("lookup_word", "Look up the definition of a word in the dictionary", word=text("The word")),
    tool("set_temperature", "Set the thermostat to a temperature", degrees=number("Degrees Celsius", "integer")),
    tool("track_package", "Track a package by its tracking number", number=text("The tracking number")),
]
SECOND: list[Case] = [
    ("Add buying milk to my to-do list", "add_task", {"task": "milk"}),
    ("Put calling the dentist on my list of tasks", "add_task", {"task": "dentist"}),
    ("New task: water the plants", "add_task", {"task": "water the plants"}),
    ("Add a task to renew my passport", "add_task", {"task": "passport"}),
    ("What's the exchange rate of GBP?", "get_exchange_rate", {"currency": "^GBP$"}),
    ("Current rate for JPY", "get_exchange_rate", {"currency": "^JPY$"}),
    ("How does the CHF stand today?", "get_exchange_rate", {"currency": "^CHF$"}),
    ("Book a flight from Paris to Rome", "book_flight", {"origin": "^paris$", "destination": "^rome$"}),
    ("I need to fly from Boston to Denver", "book_flight", {"origin": "^boston$", "destination": "^denver$"}),
    ("Get me a plane from Oslo to Madrid", "book_flight", {"origin": "^oslo$", "destination": "^madrid$"}),
    ("Reserve a flight to Tokyo from Seoul", "book_flight", {"origin": "^seoul$", "destination": "^tokyo$"}),
    ("What is the definition of ephemeral?", "lookup_word", {"word": "^ephemeral$"}),
    ("Look up the word serendipity", "lookup_word", {"word": "^serendipity$"}),
    ("Find the meaning of obfuscate in the dictionary", "lookup_word", {"word": "^obfuscate$"}),
    ("Set the thermostat to 21 degrees", "set_temperature", {"degrees": 21}),
    ("Make it 19 degrees in here", "set_temperature", {"degrees": 19}),
    ("Turn the heating up to 23", "set_temperature", {"degrees": 23}),
    ("Where is my package 1Z999AA10123456784?", "track_package", {"number": "^1Z999AA10123456784$"}),
    ("Track the parcel with number LX123456789DE", "track_package", {"number": "^LX123456789DE$"}),
    ("Has package 00340434 arrived yet?", "track_package", {"number": "^00340434$"}),
]
SECOND_NONE = [
    "Hi there",
    "Thanks, bye",
    "Who painted the Mona Lisa?",
    "Tell me something funny",
    "Write a haiku about winter",
    "What can you do for me?",
    "Why is the sky blue?",
    "I am so tired",
]


def right(arguments: Json, expected: dict[str, str | float]) -> bool:
    """Whether every expected argument is there."""
    return all(
        re.search(value, str(arguments.get(name)), re.IGNORECASE) is not None
        if isinstance(value, str)
        else arguments.get(name) == value
        for name, value in expected.items()
    )


def measure(tools: list[Json], cases: list[Case], mode: str, without: list[str], show: bool) -> float:
    """The share of right answers."""
    service = LiteLLMService()
    target = service.target("local/smollm2-135m-instruct")

    def ask(prompt: str) -> Json | None:
        body = {
            "messages": [{"role": "user", "content": prompt}],
            "tools": tools,
            "tool_choice": mode,
            "max_tokens": 64,
        }
        try:
            calls = service.complete(target, body)["choices"][0]["message"].get("tool_calls")
        except LASError as error:
            return {"name": str(error), "arguments": "{}"}
        return calls[0]["function"] if calls else None

    good = 0
    for prompt, name, expected in cases:
        call = ask(prompt)
        correct = call is not None and call["name"] == name and right(json.loads(call["arguments"]), expected)
        good += correct
        if show and not correct:
            print(f"    {prompt!r}: {call}")
    for prompt in without:
        call = ask(prompt)
        good += call is None
        if show and call is not None:
            print(f"    {prompt!r}: {call}, expected none")
    return good / (len(cases) + len(without))


def main() -> int:
    """Measure both sets and return 1 if the first misses a bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wrong", action="store_true", help="print every wrong answer")
    show = parser.parse_args().wrong
    missed = False
    sets = {"first": (FIRST_TOOLS, FIRST, FIRST_NONE), "second": (SECOND_TOOLS, SECOND, SECOND_NONE)}
    print("set     mode      prompts  right  seconds each")
    for label, (tools, cases, without) in sets.items():
        for mode, extra in (("required", []), ("auto", without)):
            begin = time.perf_counter()
            share = measure(tools, cases, mode, extra, show)
            count = len(cases) + len(extra)
            each = (time.perf_counter() - begin) / count
            print(f"{label:<7} {mode:<9} {count:>7}  {share:>5.0%}  {each:>12.2f}")
            missed |= label == "first" and share < BARS[mode]
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
