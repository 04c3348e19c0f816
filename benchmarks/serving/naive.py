"""The server of the usual tutorial: FastAPI in front of litellm, in thirty lines.

    python benchmarks/serving/naive.py PORT

with the upstream in OPENAI_BASE_URL and OPENAI_API_KEY, and the clients' key in NAIVE_KEY.
"""

import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import litellm
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse

app = FastAPI()


@app.post("/v1/chat/completions")
async def chat_completions(request: Request) -> Any:
    """Answer a chat, whole or as events."""
    if request.headers.get("authorization") != f"Bearer {os.environ['NAIVE_KEY']}":
        raise HTTPException(401, "Wrong key")
    body = await request.json()
    answer = await litellm.acompletion(**body)
    if not body.get("stream"):
        return JSONResponse(answer.model_dump())

    async def events() -> AsyncIterator[str]:
        async for chunk in answer:
            yield f"data: {chunk.model_dump_json()}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
