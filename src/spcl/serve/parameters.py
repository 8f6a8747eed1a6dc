"""Parameters in the query of a URL. A parameter that a route does not have is an error, not left unread."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NoParameters(_Parameters):
    """A route without parameters."""


class RateParameters(_Parameters):
    """Parameters of /same and /identify."""

    false_match_rate: float = Field(
        0.01, gt=0, lt=1, description="Share of different objects that may be called the same.", examples=[0.01]
    )


class SearchParameters(_Parameters):
    """Parameters of /search."""

    top: int = Field(10, ge=1, le=1000, description="Number of images to find for each query.", examples=[10])
    camera_not: list[str] = Field(
        [], max_length=100, description="Leave out images of these cameras.", examples=[["3"]]
    )
    since: str | None = Field(None, description="Earliest time (ISO 8601).", examples=["2026-03-01 08:00"])
    until: str | None = Field(None, description="Latest time (ISO 8601).", examples=["2026-03-02"])
    where: str | None = Field(None, description="A filter over columns.", examples=["identity is not null"])
    least_similarity: float = Field(-1.0, ge=-1, le=1, description="Leave out images below this.", examples=[0.5])
    exact: bool = Field(False, description="Compare every image, even where there is an index.", examples=[False])
    rerank: bool = Field(False, description="Re-rank by k-reciprocal neighbours.", examples=[False])


class ImageParameters(_Parameters):
    """Parameters of /images."""

    size: int = Field(512, ge=16, le=2048, description="Largest width and height, pixels.", examples=[256])


WithoutParameters = Annotated[NoParameters, Query()]
WithRate = Annotated[RateParameters, Query()]
WithSearch = Annotated[SearchParameters, Query()]
WithSize = Annotated[ImageParameters, Query()]
