"""A page that can't be shown, with the reason and what to do."""


class Refused(Exception):
    """`str(...)` says why and what to do."""

    def __init__(self, title: str, message: str, status: int = 404):
        super().__init__(message)
        self.title, self.status = title, status
