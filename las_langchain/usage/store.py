"""What the ledger does with its database. Importing this imports SQLAlchemy."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from las_langchain.usage import queries
from las_langchain.usage.database import Database
from las_langchain.usage.direct import Direct
from las_langchain.usage.gate import Gate
from las_langchain.usage.rows import Group, Row, UsageRow
from las_langchain.usage.tables import insert_calls, insert_into_sqlite


class Store(Database):
    """The database, and each thing that it is asked; arguments and errors are those of ``Ledger``."""

    def __init__(self, address: str | Path, gate: Gate) -> None:
        super().__init__(address, gate)
        self._direct = None if self._file is None else Direct(self._file, gate)

    def insert(self, rows: list[Row]) -> None:
        """Add calls, all or none."""
        if self._direct is not None:
            self._direct.checkpoint()
        self.write(
            lambda connection, again: insert_calls(connection, rows, again),
            sqlite=lambda driver: insert_into_sqlite(driver, rows),
        )
        if self._direct is not None:
            self._direct.follow(len(rows))

    def insert_at_once(self, rows: list[Row]) -> bool:
        """Add calls, all or none, if that takes no waiting; whether they are committed."""
        return self._direct is not None and self._direct.insert(rows)

    def close(self) -> None:
        """As a database's."""
        if self._direct is not None:
            self._direct.close()
        super().close()

    def report(
        self, by: Group | None, since: date | None, until: date | None, key_id: str | None, limit: int | None
    ) -> list[UsageRow]:
        """Calls added up; *by* None: all in one row."""
        wanted = queries.filters(since, until, key_id)
        return self.read(lambda connection: queries.report(connection, by, wanted, limit))

    def newest(
        self, limit: int, before: str | None, since: date | None, until: date | None, key_id: str | None
    ) -> list[Row]:
        """Single calls, the newest first."""
        wanted = queries.filters(since, until, key_id)
        return self.read(lambda connection: queries.newest(connection, wanted, limit, before))

    def spent(self, key_id: str | None, since: date) -> float:
        """What calls cost since a day."""
        return self.read(lambda connection: queries.spent(connection, key_id, since))
