"""Media for tests that download it: an HTTPS proxy on 127.0.0.1 that answers in the place of the hosts it knows.

    with MediaProxy(folder) as proxy:
        os.environ.update(proxy.variables)
        httpx.get("https://www.w3.org/any/name.pdf").content  # PDF

It opens tunnels (CONNECT) to nobody: it ends their TLS itself, under the certificate of an authority made for this
one run, and answers by the extension of the path. Any other host is a 502.
"""

from __future__ import annotations

import io
import ssl
import struct
import threading
import wave
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlsplit

import certifi
import trustme

HOSTS = ("raw.githubusercontent.com", "upload.wikimedia.org", "www.w3.org")


def png() -> bytes:
    """A red pixel."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0\xff\0\0")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def wav() -> bytes:
    """A tenth of a second of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8_000)
        sound.writeframes(bytes(1_600))
    return file.getvalue()


def pdf() -> bytes:
    """A page that says "Dummy PDF file"."""
    text = b"BT /F1 24 Tf 20 100 Td (Dummy PDF file) Tj ET"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R"
        b" /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(text), text),
    )
    body, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(places) + 1
    return body + b"xref\n0 %d\n%btrailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        count,
        table,
        count,
        len(body),
    )


FILES = {".png": ("image/png", png()), ".pdf": ("application/pdf", pdf()), ".wav": ("audio/wav", wav())}


class MediaProxy:
    """The proxy; use it in a with statement, which starts and ends it.

    Attributes:
        requests: the URLs asked for, refused ones too.
    """

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: where the certificates that a client needs are put.
        """
        authority = trustme.CA()
        self.requests: list[str] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*HOSTS).configure_cert(self.context)
        self._bundle = folder / "authorities.pem"
        # Beside the usual ones: a client that is made meanwhile and kept must go on knowing those.
        self._bundle.write_bytes(Path(certifi.where()).read_bytes() + authority.cert_pem.bytes())
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name="MediaProxy")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def url(self) -> str:
        """The proxy's address."""
        host, port = self._server.server_address[:2]
        return f"http://{host}:{port}"

    @property
    def variables(self) -> dict[str, str]:
        """What to put into the environment so that HTTP clients go through the proxy, but not to this machine."""
        local = "127.0.0.1,localhost,::1"
        named = {"HTTP_PROXY": self.url, "HTTPS_PROXY": self.url, "ALL_PROXY": self.url, "NO_PROXY": local}
        # Of the two spellings the small one wins.
        small = {name.lower(): value for name, value in named.items()}
        return {**named, **small, "SSL_CERT_FILE": str(self._bundle)}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: MediaProxy


class _Handler(BaseHTTPRequestHandler):
    """One connection to the proxy, and the one through it."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    _host: str | None = None

    def do_CONNECT(self) -> None:
        """Take the place of the host that the client wants to reach."""
        host, _, port = self.path.partition(":")
        if host not in HOSTS or port != "443":
            self._refuse(self.path)
            return
        self.send_response_only(200, "Connection established")
        self.end_headers()
        self._host = host
        try:
            self.connection = self._proxy.context.wrap_socket(self.connection, server_side=True)
        except OSError:
            # The client does not trust the authority, or has left.
            self.close_connection = True
            return
        self.rfile = self.connection.makefile("rb", -1)
        self.wfile = cast("io.BufferedIOBase", self.connection.makefile("wb", 0))

    def do_GET(self) -> None:
        """Answer with the file that the path's extension stands for."""
        url = urlsplit(self.path if self._host is None else f"https://{self._host}{self.path}")
        if url.hostname not in HOSTS:
            self._refuse(url.geturl())
            return
        self._proxy.requests.append(url.geturl())
        kind, content = FILES.get(PurePosixPath(url.path).suffix.lower(), ("text/plain", b""))
        self._send(200 if content else 404, kind, content)

    def finish(self) -> None:
        """Close the connection inside the tunnel, which the server does not know."""
        super().finish()
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        """Say nothing."""

    @property
    def _proxy(self) -> MediaProxy:
        return cast("_Server", self.server).proxy

    def _refuse(self, asked: str) -> None:
        self._proxy.requests.append(asked)
        self.close_connection = True
        self._send(502, "text/plain", b"This proxy knows no such host.\n")

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response_only(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(content)
