"""What every stored document has in common."""

# Here and where else many models inherit from, annotations are no text (no ``from __future__ import annotations``):
# pydantic would read it again for every class that inherits it, at every start.
from pydantic import BaseModel, ConfigDict


class Stored(BaseModel):
    """A frozen document; fields that a newer release added are kept, not dropped."""

    # Each class's validator is built when the class is first used, not at every start of the program.
    model_config = ConfigDict(
        frozen=True, defer_build=True, extra="allow", ser_json_bytes="base64", val_json_bytes="base64"
    )


class Value(BaseModel):
    """A frozen part of a document."""

    model_config = ConfigDict(frozen=True, defer_build=True, extra="ignore")
