"""Addresses of galleries on object storage, and errors of the storage as errors that name the next step."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spcl.data.cloud_storage import address_of
from spcl.errors import InputError, first_line

SCHEMES = ("s3", "gs", "az")
SERVERS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Variables of the environment that name an S3 server."""

_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY",
}
_OF_STORAGE = re.compile(
    r"Failed to connect to namespace|RetryError|Generic (S3|GCS|MicrosoftAzure) error|AccessDenied|credentials|"
    r"NoSuchBucket|HttpError|Unauthenticated|PermissionDenied|error sending request",
)


def cloud_address(path: str | Path) -> str | None:
    """The address of a gallery on object storage, ``s3://bucket/name``; None for another path."""
    address = address_of(path)
    is_ours = address is not None and address.partition("://")[0] in SCHEMES
    return address.rstrip("/") if is_ours and address is not None else None


@contextmanager
def asking(address: str) -> Iterator[None]:
    """A block that asks the storage; its errors become an ``InputError``.

    Raises:
        InputError: If the storage cannot be reached, or refuses the request.
    """
    try:
        yield
    except InputError:
        raise
    # A panic of LanceDB's library is no Exception.
    except BaseException as error:
        is_panic = type(error).__name__ in ("RustPanic", "PanicException")
        if not is_panic and not is_of_storage(error):
            raise
        raise unreachable(address, error) from error


def is_of_storage(error: BaseException) -> bool:
    """Whether an error of LanceDB is about the storage: its server, bucket or keys."""
    return isinstance(error, Exception) and _OF_STORAGE.search(str(error)) is not None


def unreachable(address: str, error: BaseException) -> InputError:
    """The error for storage that cannot be reached or refuses."""
    scheme, _, inner = address.partition("://")
    bucket, text = inner.partition("/")[0], str(error)
    server = next((os.environ[name] for name in SERVERS if scheme == "s3" and os.environ.get(name)), "its provider")
    if "NoSuchBucket" in text or re.search(r"Status \{ status: 404", text):
        return InputError(
            f"there is no bucket {bucket} for the gallery {address} at {server}: make it with the tools of the "
            "storage, or check the name and the server (AWS_ENDPOINT_URL)",
            code="no-such-bucket",
        )
    if re.search(r"status: 40[13]\b|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|PermissionDenied", text):
        return InputError(
            f"{server} refuses the keys for {address}: give keys that may list, read and write there ({_KEYS[scheme]})",
            code="storage-refuses-keys",
        )
    if re.search(r"[Cc]redential|TokenRequest|account", text) and "HttpError" not in text:
        return InputError(
            f"there are no keys for {address} in the environment: set {_KEYS[scheme]}", code="storage-refuses-keys"
        )
    return InputError(
        f"the storage of the gallery {address} cannot be used: {_reason(text, error)}. Check that {server} can be "
        "reached, the address, and AWS_ENDPOINT_URL, AWS_REGION",
        code="unreachable-storage",
    )


def _reason(text: str, error: BaseException) -> str:
    """The part of a long error that names the cause."""
    for pattern, reason in (
        (r"dns error", "its name is not known"),
        (r"Connection refused", "the connection is refused"),
        (r"kind: Timeout|TimedOut|timed out", "there is no answer in time"),
        (r"BareRedirect", "the bucket is in another region"),
        (r"status: (5\d\d)", "the server has an error"),
    ):
        if re.search(pattern, text):
            return reason
    return first_line(error)[:200]
