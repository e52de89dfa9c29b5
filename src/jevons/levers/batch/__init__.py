"""Calls that may be answered later: which of them are worth deferring, when they go, and what is packed together."""
