"""Reading the files of published datasets; whatever is wrong with one is a BrokenSample that names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rem_engine.input_files import NotJson, NotText, load_json, load_text
from rem_engine.media.foreign import check_form, read_head
from rem_engine.names import names_a_file

from .sample import BrokenSample

_PACKED = (b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd")  # ZIP, gzip, 7z, RAR, Zstandard
_ARCHIVES = (".zip", ".gz", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".7z", ".rar")
_LEVELS = 3  # of folders above a file, whose archives datasets are published as


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        FileNotFoundError: no such file.
        BrokenSample: not JSON.
    """
    if not path.is_file():
        archive = archive_of(path)
        advice = "check the dataset's root and split" if archive is None else f"{archive} is there, unpack it"
        raise FileNotFoundError(f"{path} does not exist; {advice}.")
    try:
        return load_json(path)
    except NotJson as error:
        with open(path, "rb") as file:
            head = file.read(8)
        if head.startswith(_PACKED):
            raise BrokenSample(path, "is packed, which is not supported; unpack it.") from None
        raise BrokenSample(path, f"{error}; get the file again.") from error


def read_names(path: Path) -> list[str]:
    """Names that a text file lists, with spaces or ends of lines between them.

    Raises:
        BrokenSample: no text.
    """
    try:
        return load_text(path).split()
    except NotText as error:
        raise BrokenSample(path, f"{error}; a text file of names is expected.") from error


def archive_of(path: Path) -> Path | None:
    """The archive that a file which is not there lies packed in, beside it or beside a folder above it; None where
    there is none."""
    for place in (path, path.with_suffix(""), *list(path.parents)[:_LEVELS]):
        for suffix in _ARCHIVES:
            archive = place.with_name(f"{place.name}{suffix}")
            if archive.is_file():
                return archive
    return None


def missing(path: Path) -> BrokenSample:
    """The fault of a file that is not there."""
    archive = archive_of(path)
    return BrokenSample(path, "is missing." if archive is None else f"is missing; {archive} is there, unpack it.")


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
    value = entry[name]
    wanted = kinds if isinstance(kinds, tuple) else (kinds,)
    # true is an int for Python, and no number for JSON
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        raise BrokenSample(path, f"{name!r} of {where} is {quoted(value)}, which is of the wrong kind.")
    return value


def texts(path: Path, entry: Any, name: str, where: str) -> list[str]:
    """A field that is a list of texts, such as the names of frames; arguments and faults are those of `field`."""
    found = field(path, entry, name, list, where)
    for value in found:
        if not isinstance(value, str) or not value:
            raise BrokenSample(path, f"{name!r} of {where} holds {quoted(value)}, where texts are expected.")
    return found


def check_place(path: Path, place: str, where: str) -> str:
    """A name that a listing gives a file or folder, or a path below one, once it leads nowhere else.

    Raises:
        BrokenSample: it does.
    """
    if not all(map(names_a_file, place.split("/"))):
        raise BrokenSample(path, f"{where} has {place[:60]!r} for a name, which no file of a dataset can have.")
    return place


def quoted(value: Any) -> str:
    """A value as JSON has it, short enough for a message."""
    return json.dumps(value)[:60]


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
        raise missing(path) from None
    except (OSError, SyntaxError, EOFError) as error:  # Pillow raises SyntaxError for broken PNG chunks
        try:
            check_form(path, read_head(path))
        except ValueError as kind:
            raise BrokenSample(path, f"cannot be used: {kind}") from None
        raise BrokenSample(path, "cannot be decoded; it is truncated or damaged, get it again.") from error
    return image
