"""Numbered schema changes; see store/migrate.py."""
