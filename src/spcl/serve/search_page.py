"""The search page: an image, a box in it, filters and a threshold."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from spcl.errors import InputError
from spcl.serve.page_files import page
from spcl.serve.service import GalleryService

router = APIRouter(include_in_schema=False)

_MOST_CAMERAS = 60


@router.get("/")
async def search_page(request: Request) -> Response:
    """Show the page."""
    service: GalleryService = request.app.state.service
    return page("search.html", **await service.read(lambda: _shown(service)))


def _shown(service: GalleryService) -> dict[str, Any]:
    """What the page shows of the gallery."""
    gallery = service.gallery
    num_identities, threshold = 0, None
    try:
        enrolled = service.enrolled.now()
        num_identities = len(enrolled.identities)
        threshold = enrolled.threshold(0.01).similarity
    except (InputError, ValueError):
        # No identities, or too few for a threshold: the page can still search.
        pass
    return {
        "gallery": gallery.path.name,
        "num_images": len(gallery),
        "num_identities": num_identities,
        "threshold": threshold,
        "engine": service.served.engine.engine.name,
        "cameras": gallery.cameras()[:_MOST_CAMERAS],
        "columns": list(gallery.columns),
    }
