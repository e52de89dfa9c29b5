"""Rows on disk: the ledger's writer and readers, keys, migrations. SQLite by default, Postgres at scale."""
