"""Cheaper models where they are proven: promotion by call site, verified cascades, the pre-router."""
