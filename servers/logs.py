"""The server's log lines: text for people or JSON for machines, without keys, prompts or forged lines."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from las_langchain.callers import current_caller
from las_langchain.errors import masked
from las_langchain.settings import LASSettings

_OURS = ("las", "las_langchain", "chains", "servers")
_UVICORNS = ("uvicorn", "uvicorn.error", "uvicorn.asgi", "uvicorn.access")
_LITELLMS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")
_CALLERS = ("request_id", "key_id", "chain")
_ACCESS = ("method", "route", "status", "seconds")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def configure_logging(settings: LASSettings) -> None:
    """Send the log lines of this process to standard error, in the form that ``log_format`` names.

    uvicorn's and litellm's lines go the same way; litellm tells only warnings, since it would tell prompts below.
    Doing it again replaces what was done before.
    """
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, LogHandler):
            root.removeHandler(handler)
    root.addHandler(LogHandler(JsonLines() if settings.log_format == "json" else TextLines()))
    for name in _OURS:
        logging.getLogger(name).setLevel(logging.INFO)
    for name in (*_UVICORNS, *_LITELLMS):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.handlers, logger.propagate = [], True
    for name in _LITELLMS:
        logging.getLogger(name).addFilter(_handed_on)
    # The middleware's line says more.
    logging.getLogger("uvicorn.access").disabled = True


class LogHandler(logging.StreamHandler[Any]):
    """Writes to standard error; of a class of its own, to be found again."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)


class TextLines(logging.Formatter):
    """One line a record: time, level, logger, request id if there is one, message; then, indented, its exception."""

    def format(self, record: logging.LogRecord) -> str:
        """*record* as text."""
        told = vars(record)
        request_id, key_id = told.get("request_id") or current_caller().request_id, told.get("key_id")
        said = f"[{request_id}] {record.getMessage()}" if request_id else record.getMessage()
        parts = [_time(record), record.levelname, record.name, _one_line(masked(said))]
        parts += [f"key_id={key_id}"] if key_id else []
        traceback = [f"    {_one_line(line)}" for line in _exception(self, record).splitlines()]
        return "\n".join([" ".join(parts), *traceback])


class JsonLines(JsonFormatter):
    """One JSON object a record."""

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Put what is told of *record* into *log_data*: a closed set of fields, since others may hold anything."""
        log_data["time"] = _time(record)
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        log_data["message"] = masked(record.getMessage())
        log_data.update(_callers(record))
        log_data.update({name: vars(record)[name] for name in _ACCESS if name in vars(record)})
        if exception := _exception(self, record):
            log_data["exception"] = exception


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _callers(record: logging.LogRecord) -> dict[str, str]:
    """On whose behalf a line was written: as the record says, else as the context does."""
    caller = current_caller()
    values = {name: vars(record).get(name) or getattr(caller, name) for name in _CALLERS}
    # The key's id looks like a key, and is none.
    return {name: value if name == "key_id" else masked(str(value)) for name, value in values.items() if value}


def _exception(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The traceback of a record, and the stack that it was made in."""
    found: list[Any] = []
    if record.exc_info:
        found.append(formatter.formatException(record.exc_info))
    elif record.exc_text:
        found.append(record.exc_text)
    if record.stack_info:
        found.append(formatter.formatStack(record.stack_info))
    return masked("\n".join(map(str, found))) if found else ""


def _one_line(text: str) -> str:
    """*text* with its control characters spelled out: a line break of a client's would begin a line of its making."""
    if text.isprintable():
        return text
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def _handed_on(record: logging.LogRecord) -> bool:
    """Take litellm's own handler off its logger: it is put there when litellm is imported, which may be later."""
    logging.getLogger(record.name).handlers = []
    return True
