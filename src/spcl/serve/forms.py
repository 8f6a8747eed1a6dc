"""The body of a request: images, each with what is said of it. It is read into memory; ``guard.py`` limits its bytes.

Images come as the files ``images`` of a form (``multipart/form-data``), or as one image that is the whole body. Fields
of the form belong to the images: one value for each, or one for all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from spcl.serve.failures import RequestError
from spcl.serve.settings import ServeLimits
from spcl.serve.uploads import Box, Upload

FIELDS = ("track", "quality", "camera", "identity", "time", "box")
"""Fields of a form beside ``images``."""

_LONGEST_VALUE = 500
_MOST_HEADERS = 16


@dataclass
class ImageForm:
    """The images of a request.

    Attributes:
        images: The images, in the order of the request.
        fields: For each given field a value for each image; empty text is an unknown value, None.
    """

    images: list[Upload]
    fields: dict[str, list[str | None]]

    def values(self, name: str) -> list[str | None]:
        """The values of a field, one for each image; None where it is not given."""
        return self.fields.get(name) or [None] * len(self.images)

    @property
    def tracks(self) -> list[list[int]]:
        """The numbers of the images of each query: images with one value of ``track`` are one query."""
        groups: dict[object, list[int]] = {}
        for number, track in enumerate(self.values("track")):
            groups.setdefault(number if track is None else f"track {track}", []).append(number)
        return list(groups.values())

    @property
    def quality(self) -> NDArray[np.float64]:
        """``[n]`` quality of each image, above 0; 1 where it is not given."""
        return np.array([1.0 if text is None else float(text) for text in self.values("quality")])


@dataclass
class _Part:
    name: str = ""
    file_name: str | None = None
    data: bytearray = field(default_factory=bytearray)


async def image_form(request: Request, limits: ServeLimits, allowed: tuple[str, ...]) -> ImageForm:
    """Read the images of a request.

    Args:
        request: The request; its body is read here.
        limits: Limits of requests.
        allowed: The fields that this request may have, a part of ``FIELDS``.

    Raises:
        RequestError: If the body is no form and no image, or has too many images, or fields that do not fit.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    body = await request.body()
    if kind.startswith(b"image/") or (kind in (b"", b"application/octet-stream") and body):
        return _checked([Upload(body, "")], {}, limits)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise RequestError(
            415,
            "body-not-accepted",
            "expected multipart/form-data with files called images, or one image with its type, such as image/jpeg",
        )
    uploads: list[Upload] = []
    fields: dict[str, list[str | None]] = {name: [] for name in allowed}
    for part in _parts(body, options[b"boundary"], limits):
        if part.name in ("image", "images"):
            if part.file_name is None:
                raise _invalid(f"{part.name} is text; expected a file")
            uploads.append(Upload(bytes(part.data), part.file_name))
        elif part.name in allowed:
            fields[part.name].append(_text(part))
        else:
            raise _invalid(f"there is a field {part.name[:80]!r}; expected images{''.join(f', {n}' for n in allowed)}")
    return _checked(uploads, {name: values for name, values in fields.items() if values}, limits)


def parsed_box(text: str) -> Box:
    """A box from ``left,top,width,height``.

    Raises:
        RequestError: If the text is no box.
    """
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 4 or not all(math.isfinite(value) for value in values) or min(values[2:]) <= 0:
        raise _invalid(f"the box {text[:80]!r} is none; expected left,top,width,height in pixels, such as 10,20,64,128")
    return values[0], values[1], values[2], values[3]


def _check_quality(text: str | None) -> None:
    try:
        is_good = text is None or 0 < float(text) < math.inf
    except ValueError:
        is_good = False
    if not is_good:
        raise _invalid(f"the quality {str(text)[:80]!r} is none; expected a number above 0, such as 0.8")


def _checked(uploads: list[Upload], fields: dict[str, list[str | None]], limits: ServeLimits) -> ImageForm:
    if not uploads:
        raise RequestError(422, "no-images", "the request has no image; send files called images in a form")
    for name, values in fields.items():
        if len(values) == 1 and name != "track":
            fields[name] = values * len(uploads)
        elif len(values) != len(uploads):
            raise RequestError(
                422,
                "length-mismatch",
                f"there are {len(uploads)} images and {len(values)} values of {name}; expected one for each image",
            )
    for text in fields.get("quality", []):
        _check_quality(text)
    boxes = [None if text is None else parsed_box(text) for text in fields.pop("box", [None] * len(uploads))]
    images = [Upload(each.data, each.name, box) for each, box in zip(uploads, boxes, strict=True)]
    if len(images) > limits.images:
        raise _too_many(limits)
    return ImageForm(images, fields)


def _text(part: _Part) -> str | None:
    if len(part.data) > _LONGEST_VALUE:
        raise _invalid(f"a value of {part.name} has {len(part.data)} bytes; at most {_LONGEST_VALUE} are accepted")
    try:
        text = part.data.decode().strip()
    except UnicodeDecodeError as error:
        raise _invalid(f"a value of {part.name} is not UTF-8") from error
    if not text.isprintable():
        raise _invalid(f"a value of {part.name} has characters that cannot be printed")
    return text or None


class _Parts:
    """Collects the parts of a form from the calls of the parser."""

    def __init__(self, most: int) -> None:
        self.found: list[_Part] = []
        self.is_ended = False
        self._most = most
        self._name, self._value = bytearray(), bytearray()
        self._disposition = b""

    def callbacks(self) -> Any:
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_begin": self._begin_header,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": lambda data, start, end: self.found[-1].data.extend(data[start:end]),
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.found) >= self._most:
            raise RequestError(
                413, "too-many-images", f"the form has more than {self._most} parts; send several requests"
            )
        self.found.append(_Part())
        self._disposition = b""

    def _begin_header(self) -> None:
        self._name.clear()
        self._value.clear()

    def _end_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = bytes(self._value)

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        self.found[-1].name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" in options:
            self.found[-1].file_name = options[b"filename"].decode("utf-8", "replace")

    def _end(self) -> None:
        self.is_ended = True


def _parts(body: bytes, boundary: bytes, limits: ServeLimits) -> list[_Part]:
    """The parts of a form, in their order."""
    parts = _Parts((1 + len(FIELDS)) * limits.images)
    try:
        parser = MultipartParser(boundary, parts.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise _invalid(f"the form cannot be read: {error}") from error
    if not parts.is_ended:
        raise _invalid("the form has no end")
    return parts.found


def _invalid(message: str) -> RequestError:
    return RequestError(422, "invalid-form", message)


def _too_many(limits: ServeLimits) -> RequestError:
    return RequestError(
        413, "too-many-images", f"the request has more than {limits.images} images; send several requests"
    )
