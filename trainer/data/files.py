"""Reading the files of published datasets; whatever is wrong with one is a BrokenSample that names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .sample import BrokenSample


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        FileNotFoundError: no such file.
        BrokenSample: not JSON.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; check the dataset's root and split.")
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except json.JSONDecodeError as error:
        raise BrokenSample(
            path, f"line {error.lineno}, column {error.colno} is not JSON ({error.msg}); get the file again."
        ) from error
    except UnicodeDecodeError as error:
        raise BrokenSample(path, f"byte {error.start} is not UTF-8; get the file again.") from error


def field(path: Path, entry: Any, name: str, kinds: type | tuple[type, ...], where: str) -> Any:
    """A field of an entry of a JSON file.

    Args:
        path: the file.
        entry: the entry, which should be an object.
        name: of the field.
        kinds: what its value must be.
        where: the entry in words.

    Raises:
        BrokenSample: no such field, or of another kind.
    """
    if not isinstance(entry, dict) or name not in entry:
        raise BrokenSample(path, f"{where} has no {name!r}.")
    if not isinstance(entry[name], kinds):
        raise BrokenSample(path, f"{name!r} of {where} is {json.dumps(entry[name])[:60]}, which is of the wrong kind.")
    return entry[name]


def read_frame(path: Path) -> np.ndarray:
    """A picture as uint8 [H,W,3], RGB.

    Pixels are taken as they are stored, since the annotations lie on those: a rotation asked for by EXIF is left out.

    Raises:
        BrokenSample: missing, truncated, or no picture.
    """
    return np.asarray(_open(path).convert("RGB"))


def read_ids(path: Path) -> np.ndarray:
    """The object numbers of an annotation, uint8 [H,W]: the indices of a palette PNG, not its colours.

    Raises:
        BrokenSample: missing, truncated, or not of 8 bits with one channel.
    """
    image = _open(path)
    if image.mode not in ("P", "L", "1"):
        raise BrokenSample(
            path, f"holds {image.mode} pixels; an 8-bit PNG of object numbers (palette or grey) is expected."
        )
    return np.asarray(image).astype(np.uint8)


def read_matte(path: Path) -> np.ndarray:
    """A grey matte of 8 or 16 bits as bool [H,W]: where it is above one half.

    Raises:
        BrokenSample: missing, truncated, or not grey.
    """
    pixels = np.asarray(_open(path))
    if pixels.ndim != 2 or pixels.dtype not in (np.uint8, np.uint16):
        raise BrokenSample(path, "is no grey PNG of 8 or 16 bits.")
    return pixels > np.iinfo(pixels.dtype).max // 2


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
    except FileNotFoundError:
        raise BrokenSample(path, "is missing.") from None
    except (OSError, SyntaxError, EOFError) as error:  # Pillow raises SyntaxError for broken PNG chunks
        raise BrokenSample(path, "cannot be decoded; it is truncated or damaged, get it again.") from error
    return image
