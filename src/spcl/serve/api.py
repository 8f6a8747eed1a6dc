"""The routes of the server for programs. Parameters are in the query of the URL, images are in the body."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic_core import to_json

from spcl.monitoring.reference import FALSE_MATCH_RATE
from spcl.serve import answers
from spcl.serve.failures import RequestError
from spcl.serve.filter_words import search_filter
from spcl.serve.forms import ImageForm, image_form
from spcl.serve.image_ids import image_id
from spcl.serve.metrics import CONTENT_TYPE
from spcl.serve.openapi import image_body
from spcl.serve.parameters import WithoutParameters, WithRate, WithSearch, WithSize
from spcl.serve.service import GalleryService
from spcl.verification.compare import judged

router = APIRouter()

_TRACKS = ("track", "quality", "box")
_QUERIES = (*_TRACKS, "camera")
"""Fields of the images of a request."""

_REFUSED: dict[int | str, dict[str, Any]] = (
    answers.failure(401, "The token is missing or wrong.")
    | answers.failure(403, "A page of another site made the request.")
    | answers.failure(408, "The body came too slowly.")
    | answers.failure(413, "The body or an image is too large.")
    | answers.failure(415, "The body, or an image in it, is of a type that is not accepted.")
    | answers.failure(421, "The host is not served.")
    | answers.failure(422, "A value or an image cannot be used.")
    | answers.failure(503, "The server has too much to do; Retry-After says when to try again.")
)
_WITHOUT_BODY: dict[int | str, dict[str, Any]] = {code: _REFUSED[code] for code in (401, 421, 422, 503)}
_NOT_ENROLLED = answers.failure(409, "The gallery has no identities, or no threshold can be computed.")


def _service(request: Request) -> GalleryService:
    service: GalleryService = request.app.state.service
    return service


def _json(values: Any, status: int = 200) -> Response:
    return Response(to_json(values), status_code=status, media_type="application/json")


async def _form(request: Request, *fields: str) -> ImageForm:
    return await image_form(request, _service(request).limits, fields)


def _queries(form: ImageForm) -> list[dict[str, Any]]:
    """What each query of an answer begins with."""
    names = form.values("track")
    return [{"images": track, "track": names[track[0]]} for track in form.tracks]


@router.post("/embed", response_model=answers.Embedded, responses=_REFUSED, openapi_extra=image_body(*_TRACKS))
async def embed(request: Request, __: WithoutParameters) -> Response:
    """Compute the features of images, or of tracks."""
    service = _service(request)
    form = await _form(request, *_TRACKS)
    features, _ = await service.embed(form)
    encoder = service.served.gallery
    rows = zip(_queries(form), features.tolist(), strict=True)
    return _json(
        {
            "fingerprint": encoder.fingerprint,
            "dim": encoder.dim,
            "queries": [{**query, "features": row} for query, row in rows],
        }
    )


@router.post("/same", response_model=answers.Same, responses=_REFUSED, openapi_extra=image_body(*_TRACKS))
async def same(request: Request, given: WithRate) -> Response:
    """Decide whether two images, or two tracks, show one object."""
    service = _service(request)
    form = await _form(request, *_TRACKS)
    if len(form.tracks) != 2:
        raise RequestError(
            422,
            "length-mismatch",
            f"there are {len(form.tracks)} queries; expected two images, or images of two tracks",
        )
    (first, second), _ = await service.embed(form)
    found = judged(
        float(first @ second),
        service.served.calibration,
        false_match_rate=given.false_match_rate,
        unused=service.served.no_calibration,
    )
    return _json(found.to_dict())


@router.post(
    "/search",
    response_model=answers.Searched,
    responses=_REFUSED,
    openapi_extra=image_body(*_QUERIES),
)
async def search(request: Request, given: WithSearch) -> Response:
    """Find the images of the gallery that are most similar to each query."""
    service = _service(request)
    condition = search_filter(given.where, given.camera_not, given.since, given.until)
    form = await _form(request, *_QUERIES)
    features, decoded = await service.embed(form)
    found = await service.search(features, k=given.top, where=condition, exact=given.exact or None, rerank=given.rerank)
    if condition is None:
        nearest = [hits[0].similarity if hits else float("nan") for hits in found]
        await service.observe(form, decoded, similarities=nearest)
    unknown = await service.unknown_cameras(given.camera_not)
    queries = []
    for query, hits in zip(_queries(form), found, strict=True):
        if hits:
            service.metrics.nearest.labels("/search").observe(hits[0].similarity)
        listed = [
            {"image": image_id(hit.path), **hit.to_row()} for hit in hits if hit.similarity >= given.least_similarity
        ]
        queries.append({**query, "hits": listed})
    return _json(
        {
            "engine": found.engine,
            "recall": found.recall,
            "num_images": await service.count(),
            "notes": [f"no image of the gallery is of the camera {name!r}" for name in unknown],
            "queries": queries,
        }
    )


@router.post(
    "/identify",
    response_model=answers.Identified,
    responses=_REFUSED | _NOT_ENROLLED,
    openapi_extra=image_body(*_QUERIES),
)
async def identify(request: Request, given: WithRate) -> Response:
    """Name the identity of each query among those in the gallery, or answer unknown."""
    service = _service(request)
    form = await _form(request, *_QUERIES)
    features, decoded = await service.embed(form)
    known, answered = await service.identify(features, given.false_match_rate)
    if given.false_match_rate == FALSE_MATCH_RATE:
        await service.observe(form, decoded, unknown=[answer.identity is None for answer in answered])
    threshold = known.threshold(given.false_match_rate)
    queries = []
    for query, answer in zip(_queries(form), answered, strict=True):
        is_unknown = answer.identity is None
        service.metrics.answers.labels("unknown" if is_unknown else "named").inc()
        service.metrics.nearest.labels("/identify").observe(answer.similarity)
        queries.append({**query, "is_unknown": is_unknown, **vars(answer)})
    return _json(
        {
            "num_identities": len(known.identities),
            "basis": known.basis(given.false_match_rate),
            "threshold": threshold.similarity,
            "false_match_rate": given.false_match_rate,
            "warning": threshold.warning,
            "queries": queries,
        }
    )


@router.post(
    "/enrol",
    response_model=answers.Enrolment,
    responses=_REFUSED
    | answers.failure(409, "One image is given with two identities.")
    | answers.failure(507, "The disk cannot be written to."),
    openapi_extra=image_body("identity", "camera", "time", "box"),
)
async def enrol(request: Request, _: WithoutParameters) -> Response:
    """Add images to the gallery, with identity, camera and time. They are on the disk when the answer is given."""
    service = _service(request)
    written = await service.enrol(await _form(request, "identity", "camera", "time", "box"))
    return _json(
        {
            "images": [image_id(path) for path in written.paths],
            "num_added": written.num_added,
            "num_replaced": written.num_replaced,
            "num_images": await service.count(),
        }
    )


@router.get(
    "/images/{name}",
    response_class=Response,
    responses=_WITHOUT_BODY
    | {200: {"content": {"image/jpeg": {}}, "description": "The image as JPEG."}}
    | answers.failure(404, "The gallery has no such image, or its file is gone."),
)
async def image(request: Request, name: str, given: WithSize) -> Response:
    """Give an image of the gallery, by the id that a search has given."""
    service = _service(request)
    drawn = await service.read(lambda: service.shown.jpeg(name, given.size))
    return Response(drawn, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


@router.get("/healthz", response_model=answers.Health, responses=_WITHOUT_BODY)
async def healthz(request: Request, _: WithoutParameters) -> Response:
    """Say that the server answers. It needs no token."""
    return _json({"status": "ok", "engine": _service(request).served.engine.engine.name})


@router.get(
    "/metrics",
    response_class=Response,
    responses=_WITHOUT_BODY
    | {200: {"content": {"text/plain": {}}, "description": "Figures in the format of Prometheus."}},
)
async def metrics(request: Request, _: WithoutParameters) -> Response:
    """Give the server's figures for Prometheus."""
    return Response(await _service(request).read(_service(request).metrics.text), media_type=CONTENT_TYPE)
