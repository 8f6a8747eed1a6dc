"""Errors of requests, as the server answers them: a status, a stable code and a message."""

from __future__ import annotations

from spcl.errors import InputError

_STATUS_OF_CODES = {
    "gallery-busy": 503,
    "cannot-write": 507,
    "damaged-file": 500,
    "not-finite": 500,
    "no-identities": 409,
    "not-calibrated": 409,
    "no-such-image": 404,
    "image-file-missing": 404,
    "identity-contradiction": 409,
}


class RequestError(Exception):
    """A request that cannot be answered.

    Attributes:
        status: Status of HTTP.
        code: Stable name of the fault in kebab case; programs compare it.
        message: What is wrong, what is expected, and the next step.
        retry_after: Seconds after which the client may try again; None: trying again does not help.
    """

    def __init__(self, status: int, code: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after

    def to_dict(self) -> dict[str, dict[str, str]]:
        """Plain values, for the body of the answer."""
        return {"error": {"code": self.code, "message": self.message}}

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer beside its type."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return headers | ({"WWW-Authenticate": 'Bearer realm="spcl"'} if self.status == 401 else {})


def busy(what: str, seconds: float = 1.0) -> RequestError:
    """The error of a server that has too much to do: the client may try again."""
    return RequestError(
        503, "server-busy", f"{what}; try again after the seconds in Retry-After", retry_after=max(1, round(seconds))
    )


def answered_error(error: InputError) -> RequestError:
    """An error of the package as the answer to a request."""
    return RequestError(_STATUS_OF_CODES.get(error.code, 422), error.code, str(error))
