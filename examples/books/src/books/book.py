"""Models of a book."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class Named(BaseModel):
    """A book's name, which identifies it."""

    model_config = ConfigDict(strict=True, frozen=True)

    name: Text


class Book(Named):
    authors: list[Text] = Field(min_length=1)
    year: Annotated[int, Field(ge=-9999, le=9999)]
