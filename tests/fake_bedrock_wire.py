"""How Amazon Bedrock's requests are signed and its streams are framed, written out from AWS's descriptions of both."""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import orjson

from tests.fake_server import JSON, Received, Refusal

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SESSION_TOKEN = "session-token-0123456789"
BEARER_KEY = "bedrock-api-key-0123456789"
REGION = "eu-central-1"
SERVICE = "bedrock"
_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    rf"{_ALGORITHM} Credential=(?P<key>[^/]+)/(?P<day>\d{{8}})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, "
    r"SignedHeaders=(?P<headers>[^,]+), Signature=(?P<signature>[0-9a-f]{64})"
)
_TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_STRING = b"\x07"


class AwsError(Refusal):
    """A refusal in AWS's shape; its type goes into a header."""

    def __init__(self, status: int, type_: str, message: str) -> None:
        super().__init__(status, {"type": type_, "message": message})


def check_credentials(request: Received) -> None:
    """Refuse a request that is neither signed with the test's secret nor carries its API key.

    Raises:
        AwsError: as AWS would refuse it.
    """
    given = request.headers.get("authorization", "")
    if given.startswith("Bearer "):
        if given != f"Bearer {BEARER_KEY}":
            raise AwsError(
                403, "AccessDeniedException", "Authentication failed: Please make sure your API Key is valid."
            )
        return
    found = _AUTHORIZATION.fullmatch(given)
    if not found:
        raise AwsError(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    token = request.headers.get("x-amz-security-token")
    if found["key"] != ACCESS_KEY or token not in (None, SESSION_TOKEN):
        raise AwsError(403, "UnrecognizedClientException", "The security token included in the request is invalid.")
    if (found["region"], found["service"]) != (REGION, SERVICE):
        raise AwsError(403, "InvalidSignatureException", "Credential should be scoped to a valid region.")
    _check_signature(request, found)


def _check_signature(request: Received, found: re.Match[str]) -> None:
    signed = found["headers"].split(";")
    stamp = request.headers.get("x-amz-date", "")
    needed = {"host", *(name for name in request.headers if name.startswith("x-amz-"))}
    if not needed <= set(signed) <= set(request.headers) or not stamp.startswith(found["day"]):
        raise _wrong_signature("")
    if abs(datetime.now(UTC) - datetime.strptime(stamp, _TIME_FORMAT).replace(tzinfo=UTC)) > timedelta(minutes=5):
        raise AwsError(403, "InvalidSignatureException", f"Signature expired: {stamp} is now earlier than allowed")
    scope = f"{found['day']}/{found['region']}/{found['service']}/aws4_request"
    canonical = _canonical(request, signed)
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    wanted = hmac.digest(_signing_key(scope), f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashed}".encode(), "sha256").hex()
    if not hmac.compare_digest(wanted, found["signature"]):
        raise _wrong_signature(canonical)


def _wrong_signature(canonical: str) -> AwsError:
    message = "The request signature we calculated does not match the signature you provided."
    advice = "Check your AWS Secret Access Key and signing method."
    told = f" The Canonical String for this request should have been '{canonical}'" if canonical else ""
    return AwsError(403, "InvalidSignatureException", f"{message} {advice}{told}")


def _canonical(request: Received, signed: list[str]) -> str:
    """The request as it is signed; the path, which has its escapes already, is escaped once more."""
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(request.query.items()))
    headers = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in signed)
    body = hashlib.sha256(request.content).hexdigest()
    path = quote(request.raw_path, safe="/-_.~")
    return "\n".join((request.method, path, query, headers, ";".join(signed), body))


def _signing_key(scope: str) -> bytes:
    key = f"AWS4{SECRET_KEY}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def framed(kind: str, name: str, payload: JSON) -> bytes:
    """One message of an event stream.

    Args:
        kind: ``event`` or ``exception``.
        name: which event or exception.
        payload: its JSON.
    """
    headers = {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}
    return message_of(headers, orjson.dumps(payload))


def message_of(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Headers and a payload with their lengths before them and a checksum behind each half."""
    encoded = b"".join(_header(name.encode(), value.encode()) for name, value in headers.items())
    lengths = struct.pack(">II", 16 + len(encoded) + len(payload), len(encoded))
    message = lengths + struct.pack(">I", zlib.crc32(lengths)) + encoded + payload
    return message + struct.pack(">I", zlib.crc32(message))


def _header(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + _STRING + struct.pack(">H", len(value)) + value
