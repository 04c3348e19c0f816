"""What the ledger does with its database. Importing this imports SQLAlchemy."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from las_langchain.errors import ConfigurationError
from las_langchain.usage import journal, queries
from las_langchain.usage.database import Database
from las_langchain.usage.gate import Gate
from las_langchain.usage.rows import Group, Row, UsageRow
from las_langchain.usage.tables import insert_calls, insert_into_sqlite


class Store(Database):
    """The database, and each thing that it is asked; arguments and errors are those of ``Ledger``."""

    def __init__(self, address: str | Path, gate: Gate) -> None:
        super().__init__(address, gate)
        self._has_written = False

    @property
    def beside(self) -> Path | None:
        """The SQLite file beside which rows may be kept for a moment; None: they may not, or not yet."""
        return self._file if self._has_written and journal.is_possible() else None

    def insert(self, rows: list[Row]) -> None:
        """Add calls, all or none."""
        if not self._has_written:
            self.recover()
        try:
            self.write(
                lambda connection, again: insert_calls(connection, rows, again),
                sqlite=lambda driver: insert_into_sqlite(driver, rows),
            )
        except ConfigurationError:
            self._has_written = False
            raise
        self._has_written = True

    def recover(self) -> None:
        """Add the calls that processes have left beside a SQLite file when they ended."""
        if self._file is None:
            return
        with journal.left_behind(self._file) as rows:
            if rows:
                self.write(lambda connection, _: insert_calls(connection, rows, True))

    def report(
        self, by: Group | None, since: date | None, until: date | None, key_id: str | None, limit: int | None
    ) -> list[UsageRow]:
        """Calls added up; *by* None: all in one row."""
        wanted = queries.filters(since, until, key_id)
        self.recover()
        return self.read(lambda connection: queries.report(connection, by, wanted, limit))

    def newest(
        self, limit: int, before: str | None, since: date | None, until: date | None, key_id: str | None
    ) -> list[Row]:
        """Single calls, the newest first."""
        wanted = queries.filters(since, until, key_id)
        self.recover()
        return self.read(lambda connection: queries.newest(connection, wanted, limit, before))

    def spent(self, key_id: str | None, since: date) -> float:
        """What calls cost since a day."""
        self.recover()
        return self.read(lambda connection: queries.spent(connection, key_id, since))
