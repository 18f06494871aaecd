"""What a plate's header says that goes with a frame into a delivered EXR: who owns it, camera, lens, place and time.

Values are in the types that OpenEXR's Python binding takes, under the names of OpenEXR's standard attributes
(ImfStandardAttributes.h) where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np

from .made_by import safe_text
from .timecode import packed_parts

Attributes = Mapping[str, Any]
"""Attributes of an EXR by name."""

_UNFILLED = " \xff"  # what fields of a DPX that nobody has filled in hold
_OF_ITS_TIME = ("timeCode", "keyCode", "imageCounter", "capDate")
_LONGEST_TEXT = 100_000  # characters; what is longer is data, and no statement about the frame
_LONGEST_NAME = 255  # of an attribute

# OpenImageIO's names of an EXR's attributes, where these differ.
_EXR_NAMES = {
    "Copyright": "owner",
    "DateTime": "capDate",
    "ImageDescription": "comments",
    "ExposureTime": "expTime",
    "FNumber": "aperture",
    "XResolution": "xDensity",
    "smpte:KeyCode": "keyCode",
    "smpte:TimeCode": "timeCode",
}
# What describes pixels, channels and windows as the plate's file has them, or is stated anew of a delivered one, as the
# graph of ComfyUI is that made it.
_STALE = re.compile(
    r"compression|.*CompressionLevel|(oiio|openexr|Exif|GPS|IPTC):.*|PixelAspectRatio|ResolutionUnit|YResolution|Orientation"
    r"|channels|chunkCount|tiles|tileDesc|lineOrder|type|version|name|view|multiView|preview|dataWindow|displayWindow"
    r"|maxSamplesPerPixel|deepImageState|idManifest|cryptomatte/.*|hash.*|manifest.*|chromaticities|colorInteropID"
    r"|acesImageContainerFlag|framesPerSecond|rem/.*|prompt|workflow|ICCProfile|.*:ICCProfile|planarconfig"
)  # fmt: skip
_VALUES: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "float": float,
    "double": lambda value: np.array([value], np.float64),
    "rational": lambda value: Fraction(*value) if value[1] else None,
    "matrix": lambda value: np.array(value, np.float32).reshape(4, 4),
    "matrix33": lambda value: np.array(value, np.float32).reshape(3, 3),
    "matrixd": lambda value: np.array(value, np.float64).reshape(4, 4),
    "timecode": lambda value: _time_code(*value),
    "keycode": lambda value: _key_code(value),
}
_VECTOR = re.compile(r"(?:float[23]|double[23]|int[23]|(?:vector|point|normal|color)[23]?[id]?)")
_BOX = re.compile(rf"({_VECTOR.pattern})\[2\]")
_TEXTS = re.compile(r"string\[\d+\]")
_NUMBERS = re.compile(r"float\[\d{1,4}\]")


def of_exr(stated: Mapping[str, Any], types: Mapping[str, str]) -> Attributes:
    """What still holds of an EXR's attributes, in their own types.

    Args:
        stated: by OpenImageIO's names, in Python's types.
        types: their types, as OpenImageIO calls them.
    """
    found = {}
    for name, value in stated.items():
        own = _EXR_NAMES.get(name, name)
        if not own or len(own) > _LONGEST_NAME or _STALE.fullmatch(name) or _STALE.fullmatch(own):
            continue
        converted = _converted(value, types.get(name, ""))
        if converted is not None:
            found[own] = converted
    return found


def of_picture(stated: Mapping[str, Any]) -> Attributes:
    """What the header of a DPX, TIFF, PNG or JPEG says, under OpenEXR's names.

    Args:
        stated: by OpenImageIO's names, those of EXIF among them.
    """
    texts = {
        "owner": ("Copyright", "Artist"),
        "comments": ("ImageDescription",),
        "capDate": ("Exif:DateTimeOriginal", "dpx:SourceDateTime", "DateTime"),
        "cameraMake": ("Make",),
        "cameraModel": ("Model",),
        "cameraSerialNumber": ("Exif:BodySerialNumber",),
        "lensMake": ("Exif:LensMake",),
        "lensModel": ("Exif:LensModel",),
        "lensSerialNumber": ("Exif:LensSerialNumber",),
        "reelName": ("dpx:InputDevice",),  # where grading systems keep the reel
        "dpx/inputDevice": ("dpx:InputDevice",),
        "dpx/inputDeviceSerialNumber": ("dpx:InputDeviceSerialNumber",),
        "dpx/sourceImageFileName": ("dpx:SourceImageFileName",),
        "dpx/slateInfo": ("dpx:SlateInfo",),
        "dpx/frameId": ("dpx:FrameId",),
    }
    numbers = {
        "expTime": "ExposureTime",
        "aperture": "FNumber",
        "isoSpeed": "Exif:PhotographicSensitivity",
        "nominalFocalLength": "Exif:FocalLength",
        "focus": "Exif:SubjectDistance",
        "shutterAngle": "dpx:ShutterAngle",
    }
    found: dict[str, Any] = {}
    for name, places in texts.items():
        told = (stated[place] for place in places if isinstance(stated.get(place), str))
        said = next((text for text in told if text.strip(_UNFILLED) and len(text) <= _LONGEST_TEXT), None)
        if said is not None:
            found[name] = said
    for name, place in numbers.items():
        value = stated.get(place)
        if isinstance(value, (int, float)) and np.isfinite(value) and value > 0:
            found[name] = float(value)
    for name, type_of_value in (("smpte:KeyCode", "keycode"), ("smpte:TimeCode", "timecode")):
        value = stated.get(name)
        if isinstance(value, tuple) and any(value[:5]) and (converted := _converted(value, type_of_value)) is not None:
            found[_EXR_NAMES[name]] = converted
    for name, place, negative in (("longitude", "GPS:Longitude", "W"), ("latitude", "GPS:Latitude", "S")):
        degrees = _degrees(stated.get(place))
        if degrees is not None:
            found[name] = -degrees if str(stated.get(f"{place}Ref", "")).upper().startswith(negative) else degrees
    if isinstance(altitude := stated.get("GPS:Altitude"), float) and np.isfinite(altitude):
        below = stated.get("GPS:AltitudeRef") == 1
        found["altitude"] = -altitude if below else altitude
    offset = utc_offset(str(stated.get("Exif:OffsetTimeOriginal", "")))
    if offset is not None and "Exif:DateTimeOriginal" in stated:
        found["utcOffset"] = offset
    return found


def without_its_time(attributes: Attributes) -> Attributes:
    """Those that another frame may have too, for which this one stands in."""
    return {name: value for name, value in attributes.items() if name not in _OF_ITS_TIME}


def kept_tags(*groups: Mapping[str, str]) -> dict[str, str]:
    """Tags of a video's container and of its stream that say something of what they show."""
    every = {name: safe_text(value) for group in groups for name, value in group.items()}
    kept = ((name, value) for name, value in every.items() if value and not _TECHNICAL.fullmatch(name.lower()))
    return dict(islice(kept, _MOST_TAGS))


def of_tags(tags: Mapping[str, str]) -> Attributes:
    """What a video's tags say, under OpenEXR's names; those without such a name as `container/<tag>`."""
    found: dict[str, Any] = {}
    lower = {name.lower(): value for name, value in tags.items()}
    for name, places in _TAG_NAMES.items():
        said = next((lower[place] for place in places if lower.get(place)), None)
        if said is not None:
            found[name] = said
    if date := next((lower[name] for name in _DATES if name in lower), None):
        found |= _capture(date)
    if place := next((lower[name] for name in _PLACES if name in lower), None):
        found |= _located(place)
    used = {*_DATES, *_PLACES, *(place for places in _TAG_NAMES.values() for place in places)}
    for name, value in lower.items():
        if name not in used and len(name) < _LONGEST_NAME - len("container/"):
            found[f"container/{name}"] = value
    return found


def tags_of(attributes: Attributes) -> dict[str, str]:
    """What attributes of a frame say that a video's container has a tag for."""
    return {
        places[0]: attributes[name]
        for name, places in _TAG_NAMES.items()
        if isinstance(attributes.get(name), str) and attributes[name]
    }


# Tags of containers by the attribute that says the same; the first is written.
_QUICKTIME = "com.apple.quicktime."
_TAG_NAMES = {
    "owner": ("copyright", f"{_QUICKTIME}copyright", "artist", f"{_QUICKTIME}artist"),
    "comments": ("comment", "description", f"{_QUICKTIME}comment", f"{_QUICKTIME}description"),
    "reelName": ("reel_name", "reel", f"{_QUICKTIME}reel"),
    "cameraMake": ("make", f"{_QUICKTIME}make"),
    "cameraModel": ("model", f"{_QUICKTIME}model"),
    "lensModel": ("lens_model", f"{_QUICKTIME}camera.lens_model"),
}
# What describes the container and its streams as they are stored, and not what they show.
_TECHNICAL = re.compile(
    r"major_brand|minor_version|compatible_brands|encod.*|handler_name|vendor_id|language|timecode|rotate|duration.*"
    r"|bps.*|number_of_.*|_statistics.*|rem/.*|prompt|workflow|.*_flag|alpha_mode"
)
_MOST_TAGS = 100
_DATES = (f"{_QUICKTIME}creationdate", "creation_time", "date")
_PLACES = (f"{_QUICKTIME}location.iso6709", "location", "location-eng")
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?")
_PLACE = re.compile(r"([+-]\d+(?:\.\d+)?)([+-]\d+(?:\.\d+)?)([+-]\d+(?:\.\d+)?)?.*")  # ISO 6709, in degrees
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")


def utc_offset(text: str) -> float | None:
    """`+02:00` or `Z` as OpenEXR has it: seconds to be added to the local time for universal time."""
    if text == "Z":
        return 0.0
    if not (match := _OFFSET.fullmatch(text.strip())):
        return None
    seconds = 3600.0 * int(match[2]) + 60.0 * int(match[3])
    return -seconds if match[1] == "+" else seconds


def _capture(date: str) -> dict[str, Any]:
    match = _DATE.fullmatch(date.strip())
    if match is None:
        return {}
    found: dict[str, Any] = {"capDate": f"{match[1]}:{match[2]}:{match[3]} {match[4]}"}
    if match[5] and (offset := utc_offset(match[5])) is not None:
        found["utcOffset"] = offset
    return found


def _located(place: str) -> dict[str, Any]:
    match = _PLACE.fullmatch(place.strip())
    if match is None:
        return {}
    found = {"latitude": float(match[1]), "longitude": float(match[2])}
    return found if match[3] is None else {**found, "altitude": float(match[3])}


def _degrees(stated: Any) -> float | None:
    """Degrees, minutes and seconds in degrees."""
    if not isinstance(stated, tuple) or len(stated) != 3 or not np.isfinite(stated).all():
        return None
    return float(stated[0] + stated[1] / 60 + stated[2] / 3600)


def _converted(value: Any, kind: str) -> Any:
    """A value in the type that OpenEXR's binding takes; None for what is of no type known, or too long."""
    if kind == "string":
        return value if len(value) <= _LONGEST_TEXT else None
    if kind in _VALUES:
        return _VALUES[kind](value)
    if _TEXTS.fullmatch(kind):
        return [*value] if sum(map(len, value)) <= _LONGEST_TEXT else None
    if _VECTOR.fullmatch(kind) or _NUMBERS.fullmatch(kind):
        return np.array(value, _number_type(kind))
    if _BOX.fullmatch(kind):
        corners = np.array(value, _number_type(kind.removesuffix("[2]"))).reshape(2, -1)
        return (corners[0], corners[1])
    return None


def _number_type(kind: str) -> type[np.generic]:
    if kind.startswith("double") or kind.endswith("d"):
        return np.float64
    return np.int32 if kind.startswith("int") or kind.endswith("i") else np.float32


def _time_code(packed: int, user: int) -> Any:
    """OpenEXR's time code of its two words (ImfTimeCode.h): time and flags, and eight binary groups."""
    from OpenEXR import TimeCode

    flags = [packed >> bit & 1 for bit in (6, 7, 15, 23, 30, 31)]  # drop, color, field and binary group flags
    groups = [user >> 4 * group & 15 for group in range(8)]
    return _valid(TimeCode, *packed_parts(packed), *flags, *groups)


def _key_code(value: tuple[int, ...]) -> Any:
    from OpenEXR import KeyCode

    return _valid(KeyCode, *value)


def _valid(kind: Callable[..., Any], *numbers: int) -> Any:
    """A code of film or time; None for numbers that there is none of, as of headers that nobody has filled in."""
    try:
        return kind(*numbers)
    except (RuntimeError, ValueError, TypeError):
        return None
