"""The store: SQLite by default, PostgreSQL by URL, one layer for both."""
