"""Whom to trust: the authorities that sign the certificates of servers."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache

import certifi

from las_langchain.errors import ConfigurationError

FILE, FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"


def trusted() -> ssl.SSLContext:
    """Whom to trust: the authorities that the environment names, else those that browsers know.

    Raises:
        ConfigurationError: the environment names none that there are; the message says which variable.
    """
    return _trusted(os.environ.get(FILE) or None, os.environ.get(FOLDER) or None)


@lru_cache(maxsize=8)
def _trusted(file: str | None, folder: str | None) -> ssl.SSLContext:
    # OpenSSL takes a missing folder in silence, and trusts nobody then.
    if folder and not any(map(os.path.isdir, folder.split(os.pathsep))):
        raise ConfigurationError(f"{FOLDER}: no such folder: {folder}", param=FOLDER)
    try:
        return ssl.create_default_context(cafile=file if file or folder else certifi.where(), capath=folder)
    except ssl.SSLError:
        raise ConfigurationError(f"{FILE}: no certificates in PEM format in {file}", param=FILE) from None
    except OSError as error:
        raise ConfigurationError(f"{FILE}: {file}: {error.strerror}", param=FILE) from None
