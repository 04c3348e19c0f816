"""The cache of answers: equal requests are answered out of memory, a file or Redis."""

from las_langchain.caches.answers import Cache, open_cache
from las_langchain.caches.keys import cache_key

__all__ = ["Cache", "cache_key", "open_cache"]
