"""The answers of the server as models, for the OpenAPI description; ``api.py`` gives the same values."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_TIME = "2026-03-01 12:00:00"


class Fault(BaseModel):
    """What is wrong with a request."""

    code: str = Field(description="Stable name of the fault; compare this.", examples=["unreadable-image"])
    message: str = Field(description="What is wrong, and the next step.", examples=["image 0 cannot be decoded"])


class Failure(BaseModel):
    """The answer to a request that cannot be answered."""

    error: Fault


class Query(BaseModel):
    """One query: an image, or the images of one track."""

    images: list[int] = Field(description="Numbers of its images in the request, from 0.", examples=[[0]])
    track: str | None = Field(description="Value of the field track; null without one.", examples=[None])


class EmbeddedQuery(Query):
    """A query with its features."""

    features: list[float] = Field(description="Unit vector of the query.", examples=[[0.6, 0.8]])


class Embedded(BaseModel):
    """The answer of /embed."""

    fingerprint: str = Field(description="Fingerprint of the encoder.", examples=["9f86d081884c7d65"])
    dim: int = Field(description="Length of a vector.", examples=[1280])
    queries: list[EmbeddedQuery]


class Same(BaseModel):
    """The answer of /same. Values that need a calibration are null without one."""

    similarity: float = Field(description="Cosine similarity, -1 to 1.", examples=[0.83])
    probability: float | None = Field(
        description="Probability that both show one object, if half of all compared pairs do.", examples=[0.97]
    )
    verdict: Literal["same", "different", "unsure"] | None = Field(examples=["same"])
    threshold: float | None = Field(description="Similarity from which the verdict is same.", examples=[0.71])
    false_match_rate: float | None = Field(
        description="Share of pairs of different objects that are called same.", examples=[0.01]
    )
    origin: str | None = Field(description="Whether the calibration is from labels.", examples=["labels"])
    warning: str | None = Field(description="Limits of the result.", examples=[None])


class Found(BaseModel):
    """An image of the gallery that was found; further columns of the gallery have their own names."""

    model_config = ConfigDict(extra="allow")

    image: str = Field(description="Id of the image: GET /images/{id}.", examples=["1f40fc92da241694"])
    path: str = Field(description="Path of the image as it was added.", examples=["/data/gate/000417.jpg"])
    similarity: float = Field(description="Cosine similarity, -1 to 1.", examples=[0.91])
    identity: str | None = Field(examples=["17"])
    camera: str | None = Field(examples=["3"])
    time: str | None = Field(description="Time without zone.", examples=[_TIME])
    distance: float | None = Field(default=None, description="Distance after re-ranking; low is near.", examples=[0.2])


class SearchedQuery(Query):
    """A query with what was found for it, nearest first."""

    hits: list[Found]


class Searched(BaseModel):
    """The answer of /search."""

    engine: Literal["exact", "index"] = Field(description="Whether every image was compared.", examples=["exact"])
    recall: float = Field(description="Share of the nearest images that the index finds.", examples=[1.0])
    num_images: int = Field(description="Number of images in the gallery.", examples=[8412])
    notes: list[str] = Field(description="Remarks on filters that left out nothing.", examples=[[]])
    queries: list[SearchedQuery]


class IdentifiedQuery(Query):
    """A query with its identity."""

    identity: str | None = Field(description="Name of the identity; null: unknown.", examples=["17"])
    is_unknown: bool = Field(description="Whether no identity is similar enough.", examples=[False])
    similarity: float = Field(description="Similarity to the mean of the nearest identity.", examples=[0.79])
    probability: float | None = Field(
        description="Probability of the nearest identity, if half of all queries are of enrolled identities.",
        examples=[0.98],
    )
    nearest: str = Field(description="The nearest identity, also where it is not similar enough.", examples=["17"])
    runner_up: str | None = Field(description="The second nearest identity.", examples=["4"])
    runner_up_similarity: float | None = Field(examples=[0.41])


class Identified(BaseModel):
    """The answer of /identify."""

    num_identities: int = Field(description="Number of identities in the gallery.", examples=[212])
    basis: Literal["gallery", "calibration"] = Field(description="Origin of the threshold.", examples=["gallery"])
    threshold: float = Field(description="Similarity from which a name is given.", examples=[0.62])
    false_match_rate: float = Field(description="Share of strangers that may be given a name.", examples=[0.01])
    warning: str | None = Field(description="Limits of the threshold.", examples=[None])
    queries: list[IdentifiedQuery]


class Enrolment(BaseModel):
    """The answer of /enrol: the images are on the disk."""

    images: list[str] = Field(
        description="Ids of the images, in the order of the request.", examples=[["1f40fc92da241694"]]
    )
    num_added: int = Field(description="Images that are new in the gallery.", examples=[1])
    num_replaced: int = Field(description="Images that were in the gallery before.", examples=[0])
    num_images: int = Field(description="Number of images in the gallery.", examples=[8413])


class Health(BaseModel):
    """The answer of /healthz."""

    status: Literal["ok"] = Field(examples=["ok"])
    engine: str = Field(description="What runs the network: torch or onnxruntime.", examples=["onnxruntime"])


def failure(status: int, meaning: str) -> dict[int | str, dict[str, Any]]:
    """The description of an error status."""
    return {status: {"model": Failure, "description": meaning}}
