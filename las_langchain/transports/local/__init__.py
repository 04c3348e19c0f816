"""The embedded models: a chat and an embedding model that run inside this process, with no key and no daemon."""

from las_langchain.transports.local.transport import LocalTransport

__all__ = ["LocalTransport"]
