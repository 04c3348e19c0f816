"""LangGraph's synchronous checkpointers, made to work from any thread and event loop of a process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from chains.memory.turns import Turns
from las_langchain.errors import ConfigurationError, LASError
from las_langchain.forks import ForkAware
from las_langchain.threads import in_thread


class Threads(ForkAware, BaseCheckpointSaver[str]):
    """Base of the checkpointers: its async methods are the sync ones, run in threads.

    A write that is cancelled is finished all the same, so there are no halves. The lock of :class:`ForkAware` is held
    while the connection is used, so a fork waits for that, and finds it closed.

    Attributes:
        turns: of its conversations, whichever graphs go on with them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.turns = Turns()

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self._lock:
            self.let_go()

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> Self:
        """Itself: messages and plain data are restored, and nothing that a graph adds to these."""
        return self

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """The checkpoints of a thread, the newest first; all read before the first is given out."""
        # LangGraph's own would hold the connection for as long as its reader takes.
        return iter([*super().list(config, filter=filter, before=before, limit=limit)])

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As ``get_tuple``."""
        return await in_thread(lambda: self.get_tuple(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """As ``list``."""
        for found in await in_thread(lambda: self.list(config, filter=filter, before=before, limit=limit)):
            yield found

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As ``put``."""
        return await in_thread(lambda: self.put(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As ``put_writes``."""
        await in_thread(lambda: self.put_writes(config, writes, task_id, task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        """As ``delete_thread``."""
        await in_thread(lambda: self.delete_thread(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """As ``delete_for_runs``."""
        await in_thread(lambda: self.delete_for_runs(run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """As ``copy_thread``."""
        await in_thread(lambda: self.copy_thread(source_thread_id, target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """As ``prune``."""
        await in_thread(lambda: self.prune(thread_ids, strategy=strategy))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """As ``get_delta_channel_history``."""
        return await in_thread(lambda: self.get_delta_channel_history(config=config, channels=channels))


def serializer() -> JsonPlusSerializer:
    """Restores messages and plain data; anything else stays the dict that it was stored as."""
    return JsonPlusSerializer(allowed_msgpack_modules=None)


@contextmanager
def explained(where: str, remedy: str, fault: type[Exception]) -> Iterator[None]:
    """Raise what goes wrong inside as an error of this package.

    Args:
        where: the place, as the operator of this machine may see it.
        remedy: what to check.
        fault: what the database's driver raises.

    Raises:
        ConfigurationError: in the place of *fault*, and of what damaged data raises.
    """
    try:
        yield
    except LASError:
        raise
    except (fault, OSError, ValueError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        message = f"The conversations cannot be read or written; check {remedy}"
        raise ConfigurationError(message, detail=f"{where}: {reason}") from error


def of_a_later_version(where: str) -> ConfigurationError:
    """The error for a place that a newer installation has set up."""
    return ConfigurationError(
        "The conversations are of a later version: upgrade las-langchain, or set LAS_DATABASE_URL or LAS_DATA_DIR to "
        "another place",
        detail=where,
    )
