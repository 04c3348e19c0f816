"""How much of llama.cpp's speed is left at the end of ChatLAS's stream.

Alternates between two things, on the embedded model: a stream through ChatLAS, timed by the clock from its first to its
last token, and a call whose tokens per second llama.cpp itself reports (its ``timings``).

    python benchmarks/local_throughput.py
"""

from __future__ import annotations

import statistics
import sys
import time

from las_langchain import ChatLAS, LiteLLMService

RUNS = 7
TOKENS = 200
PROMPT = "Tell me a long story about a dragon who learns to sail."
BAR = 0.85


def through_chat_las(model: ChatLAS) -> float:
    """Tokens per second between the first and the last token of a stream."""
    stamps = [time.perf_counter() for chunk in model.stream(PROMPT) if chunk.content]
    return (len(stamps) - 1) / (stamps[-1] - stamps[0])


def by_llama_cpp(service: LiteLLMService) -> float:
    """Tokens per second as the engine counts them."""
    messages = [{"role": "user", "content": PROMPT}]
    answer = service.complete(service.target(), {"messages": messages, "max_tokens": TOKENS, "seed": 1})
    return float(answer["timings"]["predicted_per_second"])


def main() -> int:
    """Print both rates and their ratio; return 1 if it is below the bar."""
    service = LiteLLMService()
    model = ChatLAS(service=service, max_tokens=TOKENS, seed=1)
    by_llama_cpp(service)  # loads the model
    pairs = [(through_chat_las(model), by_llama_cpp(service)) for _ in range(RUNS)]
    ours, engine = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    print(f"tokens per second, median of {RUNS} runs of {TOKENS} tokens")
    print(f"  llama.cpp's own timings  {engine:6.1f}")
    print(f"  ChatLAS.stream           {ours:6.1f}")
    print(f"  ratio                    {ours / engine:6.2f}   (bar: {BAR})")
    return int(ours / engine < BAR)


if __name__ == "__main__":
    sys.exit(main())
