"""Providers that speak OpenAI's own format, without litellm on the way."""

from las_langchain.transports.wire.transport import WireTransport

__all__ = ["WireTransport"]
