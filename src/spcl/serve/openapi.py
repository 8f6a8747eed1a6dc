"""The part of the OpenAPI description that cannot be read from the routes: the images in the body."""

from __future__ import annotations

from typing import Any

_FIELDS = {
    "track": ("Name of a track: images with one name are one query.", "17"),
    "quality": ("Quality of the image, above 0: its weight in the feature of its track.", "0.8"),
    "camera": ("Camera of the image, as the gallery names it.", "3"),
    "identity": ("Identity of the image; empty: unknown.", "ann"),
    "time": ("Time of the image (ISO 8601).", "2026-03-01 12:00"),
    "box": ("Part of the image that shows the object: left,top,width,height in pixels.", "10,20,64,128"),
}


def image_body(*fields: str) -> dict[str, Any]:
    """Describe a body of images with fields: one value for each image, or one for all.

    Args:
        fields: Names of the fields.
    """
    properties: dict[str, Any] = {
        "images": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "format": "binary"},
            "description": "Images: JPEG, PNG, WEBP, BMP or TIFF.",
        }
    }
    for name in fields:
        meaning, example = _FIELDS[name]
        properties[name] = {
            "type": "array",
            "items": {"type": "string", "maxLength": 500},
            "description": f"{meaning} One value for each image{', or one for all' if name != 'track' else ''}.",
            "example": [example],
        }
    form = {"type": "object", "required": ["images"], "properties": properties, "additionalProperties": False}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    }
