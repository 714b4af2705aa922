"""What can go wrong for a caller, as exceptions that every service turns into its own error body.

    ApiError            status, type, message, and a hint for people
    ├── BadRequest      400  the request cannot mean anything we accept
    ├── Unauthorized    401  no token, or one that is not valid
    ├── Forbidden       403  the caller's roles do not allow it
    ├── NotFound        404  no such object, or not one the caller may see
    ├── NotAllowed      405  the path exists, the method does not
    ├── NotAcceptable   406  a version or media type we do not speak
    ├── TooSlow         408  the body did not arrive in time
    ├── Conflict        409  the request contradicts the present state
    ├── Gone            410  what was here once and is no longer offered
    ├── TooLarge        413  the body exceeds what we read
    ├── Unsupported     415  the body is of a kind we do not read
    ├── BeyondEnd       416  the range asked for begins behind the last byte
    ├── TooMany         429  the project or the address has had its share for now
    └── Unavailable     503  a host that has to answer is not there

`type` is the name the OpenStack service gives the error ("NetworkNotFound"); it is part of the API and
never changes. `status` may be overridden where a service answers differently from the class.
"""

from __future__ import annotations

MAX_MESSAGE = 2000
"""Characters. What a message quotes is a client's, who has it already."""


class ApiError(Exception):
    status = 500
    default_type = "InternalServerError"

    def __init__(self, message: str, *, type: str | None = None, detail: str = "", hint: str | None = None) -> None:
        message = message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]}…"
        super().__init__(message)
        self.message = message
        self.type = type or self.default_type
        self.detail = detail
        self.hint = hint


class BadRequest(ApiError):
    status = 400
    default_type = "InvalidInput"


class Unauthorized(ApiError):
    status = 401
    default_type = "Unauthorized"


class Forbidden(ApiError):
    status = 403
    default_type = "PolicyNotAuthorized"


class NotFound(ApiError):
    status = 404
    default_type = "HTTPNotFound"


class NotAllowed(ApiError):
    status = 405
    default_type = "HTTPMethodNotAllowed"


class NotAcceptable(ApiError):
    status = 406
    default_type = "HTTPNotAcceptable"


class TooSlow(ApiError):
    status = 408
    default_type = "HTTPRequestTimeout"


class Conflict(ApiError):
    status = 409
    default_type = "Conflict"


class Gone(ApiError):
    status = 410
    default_type = "HTTPGone"


class TooLarge(ApiError):
    status = 413
    default_type = "RequestEntityTooLarge"


class Unsupported(ApiError):
    status = 415
    default_type = "UnsupportedMediaType"


class BeyondEnd(ApiError):
    status = 416
    default_type = "HTTPRequestRangeNotSatisfiable"


class TooMany(ApiError):
    """`retry_after_s`: whole seconds until the next request is answered, at least 1."""

    status = 429
    default_type = "TooManyRequests"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(ApiError):
    status = 503
    default_type = "ServiceUnavailable"
