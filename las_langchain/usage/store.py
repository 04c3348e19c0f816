"""What the ledger does with its database. Importing this imports SQLAlchemy."""

from __future__ import annotations

from datetime import date

from las_langchain.usage import queries
from las_langchain.usage.database import Database
from las_langchain.usage.rows import Group, Row, UsageRow
from las_langchain.usage.tables import insert_calls, insert_into_sqlite


class Store(Database):
    """The database, and each thing that it is asked; arguments and errors are those of ``Ledger``."""

    def insert(self, rows: list[Row]) -> None:
        """Add calls, all or none."""
        self.write(
            lambda connection, again: insert_calls(connection, rows, again),
            sqlite=lambda driver: insert_into_sqlite(driver, rows),
        )

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
