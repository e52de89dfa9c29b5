"""Answers and prefixes that need not be burned again."""
