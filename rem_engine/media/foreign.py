"""Files that are no plates here, though nothing is wrong with them: what they are, and what to do."""

from __future__ import annotations

from pathlib import Path

from .suffixes import RAW_SUFFIXES

_HEAD = 256  # bytes
_BRANDS = slice(4, 8)
_AS_STILLS = "save it as EXR, PNG or TIFF"
_AS_VIDEO = "transcode it to ProRes 4444, or to an EXR sequence"
_FLATTENED = "export the picture flattened, as EXR, PNG or TIFF"

_SVG = "an SVG drawing", "render it as PNG"
_ARRIRAW = "a frame of ARRIRAW", "develop it to EXR or DPX, with ARRI's Reference Tool for example"
_REDCODE = "a clip of REDCODE RAW", f"{_AS_VIDEO}, with REDCINE-X for example"

# What a file begins with, from which byte on, and what it is then.
_SIGNS = (
    (0, b"%PDF", "a PDF document", _AS_STILLS),
    (0, b"%!PS", "a PostScript document", _AS_STILLS),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript document", _AS_STILLS),
    (0, b"<svg", *_SVG),
    (0, b"gimp xcf", "a GIMP document", _FLATTENED),
    (38, b"application/x-krita", "a Krita document", _FLATTENED),
    (38, b"image/openraster", "an OpenRaster document", _FLATTENED),
    (0, b"BPG\xfb", "a BPG picture", _AS_STILLS),
    (0, b"II\xbc\x01", "a JPEG XR picture", _AS_STILLS),
    (0, b"ARRI", *_ARRIRAW),
    (4, b"RED1", *_REDCODE),
    (4, b"RED2", *_REDCODE),
    (1, b"BDV\0", "an OpenVDB volume", "render it"),
    (0, b"BLENDER", "a Blender scene", "render it"),
    (0, b"Ogawa", "an Alembic scene", "render it"),
    (0, b"version https://git-lfs", "the note that Git LFS leaves in a file's place", "fetch it with `git lfs pull`"),
    (0, b"<!doctype html", "a web page", "download the file itself"),
    (0, b"<html", "a web page", "download the file itself"),
    (0, b"PK\x03\x04", "a ZIP archive", "unpack it"),
    (0, b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (0, b"Rar!", "a RAR archive", "unpack it"),
    (0, b"\x1f\x8b", "a gzip archive", "unpack it"),
)

# What files of these names are, where they could not be opened and their beginning does not tell.
_SUFFIXES = {
    ".braw": ("a clip of Blackmagic RAW", f"{_AS_VIDEO}, with DaVinci Resolve for example"),
    ".r3d": _REDCODE,
    ".nev": ("a clip of N-RAW", f"{_AS_VIDEO}, with DaVinci Resolve for example"),
    ".crm": ("a clip of Cinema RAW Light", f"{_AS_VIDEO}, with DaVinci Resolve for example"),
    ".ari": _ARRIRAW,
}
# Files of these names should have opened.
_READ = (
    *(".3gp", ".avi", ".dv", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf"),
    *(".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m"),
)  # fmt: skip

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")


def check_form(file: Path, head: bytes, reads_heif: bool = False, reads_raw: bool = False) -> None:
    """Refuse by its beginning what is no plate here, and would be called damaged or be taken for something else.

    Args:
        file: for the message, and for its name, by which cameras' raw files are known.
        head: its first bytes; `read_head` gives as many as are looked at.
        reads_heif, reads_raw: whether the reader that is at hand knows such pictures.

    Raises:
        ValueError: what it is, and what to do.
    """
    starts = head, head.lstrip().lower()
    if starts[1].startswith(b"<?xml") and b"<svg" in starts[1]:
        raise _not_supported(file, *_SVG)
    for offset, sign, what, advice in _SIGNS:
        if any(start[offset : offset + len(sign)] == sign for start in starts):
            raise _not_supported(file, what, advice)
    if not reads_heif and head[_BRANDS] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        raise _not_supported(file, "a HEIF or AVIF picture", "convert it to PNG or TIFF, with heif-convert for example")
    if not reads_raw and file.suffix.lower() in RAW_SUFFIXES:
        advice = "develop it to 16-bit TIFF or EXR, with darktable for example"
        raise _not_supported(file, "a camera's raw file", advice)


def read_head(file: Path) -> bytes:
    """The bytes by which a file's kind is told; OSError where it may not be read."""
    with open(file, "rb") as stream:
        return stream.read(_HEAD)


def check_name(file: Path) -> None:
    """Refuse by its name a file that could not be opened: of some kinds the name alone tells, and of a name that no
    video or image has nothing says that it is damaged.

    Raises:
        ValueError: what it is, and what to do.
    """
    suffix = file.suffix.lower()
    if suffix in _SUFFIXES:
        raise _not_supported(file, *_SUFFIXES[suffix])
    if suffix not in _READ:
        raise ValueError(
            f"{file.name} is no kind of video or image that is read here, it is not supported: give a video, or frames "
            "as EXR, DPX, PNG, TIFF or JPEG."
        )


def _not_supported(file: Path, what: str, advice: str) -> ValueError:
    return ValueError(f"{file.name} is {what}, which is not supported: {advice}.")
