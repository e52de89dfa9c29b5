"""One small tree of errors, split by whose fault it is. Each says what was wrong, where, and what to do.

Nothing here knows a wire format: `wire` turns an error into the body that the caller's SDK expects.
"""


class JevonsError(Exception):
    """The root. `status` is the HTTP status a surface answers with; `code` is stable and machine-readable."""

    status = 500
    code = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        allow: str = "",
    ):
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.allow = allow
        """The methods that a 405 names (RFC 9110, 15.5.6)."""
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status


class CallerError(JevonsError):
    """The caller must change something: the request, the key, the plan."""

    status = 400
    code = "invalid_request"


class Unauthorized(CallerError):
    status = 401
    code = "invalid_api_key"


class Forbidden(CallerError):
    status = 403
    code = "forbidden"


class NotFound(CallerError):
    status = 404
    code = "not_found"


class TooLarge(CallerError):
    status = 413
    code = "request_too_large"


class Limited(CallerError):
    """A rate, concurrency or budget limit: `code` names which (`rate_limited`, `budget_exhausted`, ...)."""

    status = 429
    code = "rate_limited"


class UpstreamError(JevonsError):
    """The provider or the local engine failed, and no fallback was left."""

    status = 502
    code = "upstream_error"


class UpstreamTimeout(UpstreamError):
    status = 504
    code = "upstream_timeout"


class OurError(JevonsError):
    """A fault of this program or its stores."""


class SettingsError(OurError):
    """The configuration is wrong; the message names the key, its place and the nearest known one."""

    code = "settings_error"
