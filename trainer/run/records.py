"""Small records that the trainer keeps of itself as JSON, and reads again when it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from rem_engine.input_files import NotJson, load_json

Record = TypeVar("Record")


def read_record(path: Path, kind: type[Record], advice: str) -> Record:
    """What a JSON file holds, as a dataclass or other type.

    Args:
        path: of the file.
        kind: of the record.
        advice: what to do where it is damaged.

    Raises:
        ValueError: it is.
    """
    try:
        return TypeAdapter(kind).validate_python(load_json(path))
    except NotJson as error:
        reason = str(error)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = f"{'.'.join(map(str, first['loc'])) or 'all of it'}: {first['msg'].lower()}"
    raise ValueError(f"{path} is damaged ({reason}): {advice}.")
