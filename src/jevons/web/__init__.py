"""The dashboard: pages in a process of their own, read through the store, drawn on the server."""
