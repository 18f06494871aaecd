"""Which part, layer and view of an EXR is the picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .stills import Part

# Suffixes of channels that hold colour, as renderers and Nuke write them, by their place in RGB.
_COLOURS = {"r": 0, "red": 0, "g": 1, "green": 1, "b": 2, "blue": 2}
_LUMINANCE, _CHROMA = "y", ("ry", "by")


@dataclass(frozen=True)
class Picture:
    """Channels of an EXR that are a picture together.

    Attributes:
        part: where they are.
        layer: their name: that before their own ("beauty" of beauty.R), else that of a part of several; "" where they
            have none.
        view: "left", "right", ..., or "".
        channels: of R, G, B; of Y alone; or of Y, RY, BY.
        is_unnamed: its channels have no name before their own.
    """

    part: Part
    layer: str
    view: str
    channels: tuple[str, ...]
    is_unnamed: bool = True

    @property
    def is_luminance(self) -> bool:
        """Whether it is grey, or luminance and chroma."""
        return self.channels[0].rpartition(".")[2].lower() == _LUMINANCE


def _pictures_in(parts: Sequence[Part]) -> list[Picture]:
    """Every picture of an EXR, in the file's order; those of colour, or grey ones where none is of colour."""
    found = [picture for part in parts if not part.is_deep for picture in _pictures(part, len(parts) > 1)]
    return [picture for picture in found if len(picture.channels) == 3] or found


def choose_picture(file: Path, parts: Sequence[Part], layer: str, view: str) -> Picture:
    """The picture that is asked for: of a layer and a view, or the only one; of several, that of unnamed channels.

    Raises:
        ValueError: several, of which one is to be asked for; none; none of that name.
    """
    found = _pictures_in(parts)
    if not found:
        if all(part.is_deep for part in parts):
            raise ValueError(f"{file.name} holds deep data: flatten it before it is read.")
        channels = ", ".join(sorted({channel for part in parts for channel in part.channels}))
        raise ValueError(
            f"{file.name} holds no flat RGB picture but the channels {channels}: save the beauty pass as R, G, B."
        )
    views = _distinct(picture.view for picture in found)
    if view and view.lower() not in map(str.lower, views):
        raise ValueError(f"{file.name} holds no view {view}{_others(views, 'views')}.")
    seen = [picture for picture in found if picture.view.lower() == (view or views[0]).lower()]
    if layer:
        named = [picture for picture in seen if layer.lower() in _names(picture)]
        if not named:
            raise ValueError(f"{file.name} holds no picture {layer}{_others(_layers(seen), 'layers')}.")
        return named[0]
    chosen = [picture for picture in seen if picture.is_unnamed] or seen
    if len(chosen) > 1:
        raise ValueError(
            f"{file.name} holds several pictures, {', '.join(_layers(seen))}: ask for one of them with --layer NAME."
        )
    return chosen[0]


def _pictures(part: Part, among_others: bool) -> list[Picture]:
    """The pictures of a part."""
    named = _part_name(part) if among_others else ""
    views = part.attributes.get("multiView", ())
    views = (views,) if isinstance(views, str) else tuple(views)
    layers: dict[str, dict[str, str]] = {}
    for channel in part.channels:
        layer, _, suffix = channel.rpartition(".")
        layers.setdefault(layer, {}).setdefault(suffix.lower(), channel)
    found = []
    for layer, members in layers.items():
        channels = _channels_of(members)
        if channels:
            name, view = _without_view(layer, views)
            view = part.view or view or (views[0] if views else "")
            found.append(Picture(part, name or named, view, channels, not name))
    return found


def _channels_of(members: dict[str, str]) -> tuple[str, ...]:
    """Channels of one layer that are a picture, of its channels by their suffix in small letters."""
    colours = {_COLOURS[suffix]: channel for suffix, channel in members.items() if suffix in _COLOURS}
    if len(colours) == 3:
        return colours[0], colours[1], colours[2]
    if _LUMINANCE not in members:
        return ()
    chroma = tuple(members[suffix] for suffix in _CHROMA if suffix in members)
    return (members[_LUMINANCE], *chroma) if len(chroma) == len(_CHROMA) else (members[_LUMINANCE],)


def _without_view(layer: str, views: Sequence[str]) -> tuple[str, str]:
    """A layer's name and its view, of OpenEXR's "left" and "beauty.left" (multi-view EXR in one part)."""
    before, _, last = layer.rpartition(".")
    return (before, last) if last and last in views else (layer, "")


def _part_name(part: Part) -> str:
    """A part's name, less its view: Nuke names parts beauty.left."""
    return part.name.removesuffix(f".{part.view}") if part.view else part.name


def _names(picture: Picture) -> set[str]:
    """Names by which it may be asked for, in small letters."""
    return {name.lower() for name in (picture.layer, picture.part.name, _part_name(picture.part)) if name}


def _layers(pictures: Iterable[Picture]) -> list[str]:
    return _distinct(picture.layer for picture in pictures if picture.layer)


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _others(names: Iterable[str], what: str) -> str:
    """What there is instead of a name that was asked for, for the end of a sentence."""
    there = ", ".join(name for name in names if name)
    return f", but {there}: ask for one of them" if there else f", nor any other {what}: do not ask for one"
