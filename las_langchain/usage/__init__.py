"""The ledger: what every call used and cost, in a SQLite file or in PostgreSQL.

``ledger.py`` is what others use; ``writer.py`` is the thread that writes, and ``journal.py`` where rows are safe until
it does; ``database.py`` opens, retries and explains failures; ``tables.py`` and ``queries.py`` are the SQL. SQLAlchemy
is imported with the first row that is written or read, not with this package.
"""

from las_langchain.usage.ledger import Ledger
from las_langchain.usage.rows import GROUPS, Group, UsageRow, dollars

__all__ = ["GROUPS", "Group", "Ledger", "UsageRow", "dollars"]
