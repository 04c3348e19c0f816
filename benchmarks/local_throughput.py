"""How fast the embedded models are, and how much of llama.cpp's speed is left at the end of ChatLAS's stream.

Alternates between two things, on the embedded model: a stream through ChatLAS, timed by the clock from its first to its
last token, and a call whose tokens per second llama.cpp itself reports (its ``timings``). Then embeds short sentences.

    python benchmarks/local_throughput.py
"""

from __future__ import annotations

import statistics
import sys
import time

from las_langchain import ChatLAS, LASEmbeddings, LiteLLMService

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


def sentences_per_second(service: LiteLLMService) -> float:
    """Short sentences embedded in a second."""
    embeddings = LASEmbeddings(service=service)
    embeddings.embed_query("loads the model")
    sentences = [f"Sentence number {index} about the weather in town and other things." for index in range(300)]
    begin = time.perf_counter()
    embeddings.embed_documents(sentences)
    return len(sentences) / (time.perf_counter() - begin)


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
    print(f"sentences per second       {sentences_per_second(service):6.1f}   (LASEmbeddings)")
    return int(ours / engine < BAR)


if __name__ == "__main__":
    sys.exit(main())
