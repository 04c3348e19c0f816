"""The ``las`` command.

What a user can get wrong ends with one line on standard error and exit code 2, never with a traceback.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import logging
import mimetypes
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import las_langchain
from las_langchain.errors import BadRequestError, ConfigurationError, LASError
from servers.cost_cli import cost
from servers.doctor_cli import doctor
from servers.ingest_cli import ingest

if TYPE_CHECKING:
    from las_langchain.provider_rows import Provider
    from las_langchain.service import LiteLLMService
    from las_langchain.settings import LASSettings

BACKLOG = 2048
GRACE = 5
"""Seconds that running answers get to finish when the server is stopped."""
USAGE_ERROR = 2
INTERRUPTED = 130

app = typer.Typer(
    help="Any model in, any client out.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
local = typer.Typer(help="The embedded models.", no_args_is_help=True)
app.add_typer(local, name="local")
app.command()(cost)
app.command()(doctor)
app.command()(ingest)

Model = Annotated[str | None, typer.Option("--model", "-m", help="provider/model; default: LAS_MODEL")]


def main() -> None:
    """Run the ``las`` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # A terminal that cannot show a letter shows a question mark.
    try:
        app()
    except LASError as error:
        print(f"las: {error}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader, such as `head`, has enough. Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@app.command()
def serve(
    chains: Annotated[
        list[str] | None, typer.Argument(help="Chains of yours to publish, each as module:runnable", metavar="CHAIN")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: LAS_HOST, else 127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; default: LAS_PORT, else 7777")] = None,
) -> None:
    """Start the server and print every address worth opening."""
    uvicorn = _uvicorn()
    given = {"host": host, "port": port}
    settings = _settings(**{name: value for name, value in given.items() if value is not None})
    _check_local_files(settings)
    _check_reach(settings)
    listener = _listen(settings.host, settings.port)
    from servers.app import create_app
    from servers.connections import Connection
    from servers.logs import configure_logging

    configure_logging(settings)
    application = create_app(settings, chains or ())
    if (ledger := application.state.service.ledger) is not None:
        ledger.check()
    config = uvicorn.Config(
        application, http=Connection, ws="none", log_config=None, access_log=False, timeout_graceful_shutdown=GRACE
    )
    logging.getLogger("uvicorn.error").addFilter(_not_a_cancellation)
    server = uvicorn.Server(config)
    _announce(settings, listener.getsockname()[1])
    for name, reason in application.state.chains.failures.items():
        print(f"  The chain {name} cannot be used: {reason}", file=sys.stderr)
    # uvicorn sends itself again what ended it: by SIGTERM's default the process would be gone before the answers that
    # were cut off are in the ledger.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


@app.command()
def chat(
    prompt: Annotated[
        str | None, typer.Argument(help="What to ask; standard input is appended or used instead")
    ] = None,
    model: Model = None,
    system: Annotated[str | None, typer.Option("--system", "-s", help="System message")] = None,
    image: Annotated[list[str] | None, typer.Option("--image", "-i", help="Image file or URL; repeatable")] = None,
) -> None:
    """Ask a model; the answer streams to the terminal."""
    text = "\n\n".join(part for part in (prompt, _stdin()) if part)
    if not text:
        raise BadRequestError('Nothing to ask: give a prompt, as in `las chat "Hello"`, or send it to standard input')
    content: Any = text
    if image:
        content = [{"type": "text", "text": text}, *map(_image_part, image)]
    messages = [{"role": "system", "content": system}] if system else []
    service = _service()
    for chunk in service.stream(service.target(model), {"messages": [*messages, {"role": "user", "content": content}]}):
        for choice in chunk["choices"]:
            print(choice["delta"].get("content") or "", end="", flush=True)
    print()


@app.command()
def embed(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts; default: the lines of standard input")] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="provider/model; default: LAS_EMBEDDING_MODEL")
    ] = None,
) -> None:
    """Print one vector a text, each a JSON array on a line of its own."""
    inputs = texts or [line for line in (_stdin() or "").splitlines() if line.strip()]
    if not inputs:
        raise BadRequestError('Nothing to embed: give texts, as in `las embed "a cat"`, or lines on standard input')
    service = _service()
    answer = service.embed(service.target(model or service.settings.embedding_model), {"input": inputs})
    for item in sorted(answer["data"], key=lambda item: item["index"]):
        print(json.dumps(item["embedding"]))


@app.command()
def models(
    provider: Annotated[str | None, typer.Option(help="Only this provider's, with or without a key")] = None,
) -> None:
    """List the models that can be called now, or all that are known of one provider."""
    from las_langchain.providers import available_models, known_models

    settings = _settings()
    for name in known_models(provider, settings) if provider else available_models(settings):
        print(name)


@app.command()
def providers() -> None:
    """List the providers, and what each still needs."""
    from las_langchain.catalog import model_providers
    from las_langchain.provider_rows import PROVIDERS
    from las_langchain.providers import missing_variable

    settings = _settings()
    rows = [
        (row.name, row.title, _readiness(row, missing_variable(row, settings)), row.example)
        for row in PROVIDERS.values()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]))
    others = sorted(model_providers() - PROVIDERS.keys())
    print(f"\nAnd by their litellm prefix, each with its <PREFIX>_API_KEY: {', '.join(others)}")


def _readiness(row: Provider, missing: str | None) -> str:
    if missing:
        return f"set {missing}"
    if row.keyless:
        return f"needs {row.signs_with}" if row.signs_with else "needs no key"
    return "ready"


@local.command("install")
def local_install() -> None:
    """Fetch and prepare the embedded models (about 180 MB, once)."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from las_langchain.transports.local.weights import EMBEDDED, install

    folder = _settings().data_dir
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    for weights in EMBEDDED:
        if weights.path(folder).is_file():
            console.print(f"local/{weights.name} is installed", highlight=False)
            continue
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(f"local/{weights.name}", total=weights.megabytes * 1e6)
            install(weights, folder, lambda done, task=task: progress.update(task, completed=done))  # type: ignore[misc]


def _settings(**overrides: Any) -> LASSettings:
    from las_langchain.providers import check_configured
    from las_langchain.settings import load_settings

    settings = load_settings(**overrides)
    check_configured(settings)
    return settings


def _service() -> LiteLLMService:
    from las_langchain.service import LiteLLMService

    return LiteLLMService(_settings())


def _stdin() -> str | None:
    if sys.stdin is None or sys.stdin.isatty():
        return None
    try:
        text = sys.stdin.read().strip()
        text.encode()  # Where the locale is C, wrong bytes come as surrogates.
    except UnicodeError:
        raise BadRequestError("Standard input is not text") from None
    return text or None


def _image_part(source: str) -> dict[str, Any]:
    """An image as a content part: a URL as it is, a file as a data URL."""
    url = source
    if not source.startswith(("http://", "https://", "data:")):
        kind = mimetypes.guess_type(source)[0] or ""
        if not kind.startswith("image/"):
            raise BadRequestError(f"--image: {source} is not named like an image (.png, .jpg, …)")
        try:
            encoded = base64.b64encode(Path(source).read_bytes()).decode("ascii")
        except OSError as error:
            raise BadRequestError(f"--image: {source}: {error.strerror}") from None
        url = f"data:{kind};base64,{encoded}"
    return {"type": "image_url", "image_url": {"url": url}}


def _uvicorn() -> Any:
    try:
        import fastapi  # noqa: F401
        import httptools  # noqa: F401
        import uvicorn
    except ModuleNotFoundError:
        raise ConfigurationError("The server needs an extra: pip install 'las-langchain[server]'") from None
    return uvicorn


def _not_a_cancellation(record: logging.LogRecord) -> bool:
    """Whether *record* is more than uvicorn's traceback of an answer that it cut off at its own end."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _check_local_files(settings: LASSettings) -> None:
    """Say now, and not at the first request, that a file which the settings name is not there."""
    for variable, path in (("LAS_LOCAL_MODEL", settings.local_model), ("LAS_LOCAL_MMPROJ", settings.local_mmproj)):
        if path is not None and not path.is_file():
            raise ConfigurationError(f"{variable}: no such file; set it to a GGUF file", detail=str(path))


def _check_reach(settings: LASSettings) -> None:
    """Check that nobody who can reach this machine could use its models without a key."""
    from servers.origins import is_local_name

    if not settings.api_keys and not is_local_name(settings.host):
        raise ConfigurationError(
            f"LAS_HOST={settings.host}: other machines can reach the server there, and are answered only with a key: "
            "set LAS_API_KEYS to those that clients are to present",
            param="api_keys",
        )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # Clients that come before the application is ready wait instead of being refused.
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise ConfigurationError(
            f"Cannot listen on {host}:{port}: {reason}; choose another with --port or --host"
        ) from None
    return listener


def _announce(settings: LASSettings, port: int) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    shown = "127.0.0.1" if host in ("0.0.0.0", "[::]") else host  # noqa: S104 - shown, not bound
    root = f"http://{shown}:{port}"
    print(f"las-langchain {las_langchain.__version__}, default model {settings.model}")
    for title, address in (
        ("Page", f"{root}/"),
        ("OpenAI endpoint", f"{root}/v1"),
        ("Models", f"{root}/v1/models"),
        ("Chains", f"{root}/chains"),
        ("Chat playground", f"{root}/chains/chat/chat/playground/"),
        ("API documentation", f"{root}/docs"),
        ("LAS API", f"{root}/api/v1/litellm"),
        ("Metrics", f"{root}/metrics"),
        ("Health", f"{root}/health"),
    ):
        print(f"  {title:<18} {address}")
    print("Stop with Ctrl+C.", flush=True)
