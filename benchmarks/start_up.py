"""What importing costs, and how long the server takes from its start to its first answer.

python benchmarks/start_up.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
import urllib.request

RUNS = 7
BAR_IMPORT = 1.3
BAR_ANSWER = 5.0


APPLICATION = """
from servers.app import create_app
app = create_app()
"""
ADD_ROUTES = """
from langserve import add_routes
from servers.published import Published
for name in app.state.chains.names:
    add_routes(app, Published(app.state.chains.chain(name)), path=f"/again/{name}")
"""


def import_seconds(module: str) -> float:
    """Median processor seconds of an interpreter that imports *module*."""
    return run_seconds(f"import {module}")


def run_seconds(code: str) -> float:
    """Median processor seconds of an interpreter that runs *code*."""
    code = f"{code}\nimport time; print(time.process_time())"
    return statistics.median(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(RUNS)
    )


def answer_seconds() -> float:
    """Seconds from starting ``las serve`` to the first answered completion of the embedded model."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "servers", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = next(word for line in process.stdout for word in line.split() if word.endswith("/v1"))
        messages = [{"role": "user", "content": "What is the capital of France?"}]
        body = json.dumps({"model": "local/smollm2-135m-instruct", "messages": messages}).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{url}/chat/completions", body, headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as response:
            assert "Paris" in response.read().decode()
        taken = time.perf_counter() - begin
        process.terminate()
    return taken


def main() -> int:
    """Print the figures; return 1 if one misses its bar."""
    base = import_seconds("langchain_core.language_models")
    ours = import_seconds("las_langchain")
    print(f"import langchain_core.language_models  {base:6.3f} s of processor time")
    print(f"import las_langchain                   {ours:6.3f} s   ratio {ours / base:.2f} (bar: {BAR_IMPORT})")
    application, eager = run_seconds(APPLICATION), run_seconds(APPLICATION + ADD_ROUTES)
    print(f"the server's application, with chains  {application:6.3f} s of processor time")
    print(f"with LangServe's add_routes            {eager:6.3f} s   ratio {eager / application:.2f}")
    first = statistics.median(answer_seconds() for _ in range(3))
    print(
        f"las serve to its first answer          {first:6.2f} s of wall time (bar: {BAR_ANSWER:g} on an idle machine)"
    )
    return int(ours / base > BAR_IMPORT or first > BAR_ANSWER)


if __name__ == "__main__":
    sys.exit(main())
