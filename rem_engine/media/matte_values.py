"""Which values of stored pictures are the matte: those of the alpha or of the colour, and what their numbers mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

import numpy as np

from ..pixels import check_unit_range, unit_values
from .colour import REC_709, luma_weights

LUMA = "luma"
"""Asks for Rec. 709's luma of R, G and B, where others ask for a channel by its name."""

_LUMA = np.array(luma_weights(REC_709), np.float32)
_SUFFIXES = {"r": 0, "red": 0, "g": 1, "green": 1, "b": 2, "blue": 2, "y": 3, "a": 4, "alpha": 4}
_FLAT = 4 / 255  # values that differ by no more are one: compression and the way to 8 bits change them
_FEW = 32  # levels; a soft edge has more of them
_WHITES = (255, 1023, 4095)  # of 8, 10 and 12 bits
_SHARE = 0.001  # of the pixels; less than that is noise
_PLATEAU = 0.01  # of the pixels that are not black: so many have the highest value of a mask, and not of noise
_SHOWN = 8  # values or channels in a sentence
_NAMED = "write it behind the path, as in PATH:A or PATH:luma"


@dataclass(frozen=True)
class StoredPicture:
    """The channels of a picture that may be its matte, as they are stored: no alpha multiplied in, no curve undone.

    Attributes:
        name: for sentences.
        values: [H,W,C], uint8 or float32: colour, then alpha.
        colour: names of the channels of colour: three, one, or none.
        alpha: name of the alpha's, or none.
        white: the integer that is 1, 65535 of float32 values that were stored in 16 bits; 0 where no integers were.
        others: names of channels that were left aside.
        is_palette: whether colours were stored as numbers in a table.
        is_lossy: whether compression may have changed values.
    """

    name: str
    values: np.ndarray = field(repr=False)
    colour: tuple[str, ...]
    alpha: tuple[str, ...] = ()
    white: int = 0
    others: tuple[str, ...] = ()
    is_palette: bool = False
    is_lossy: bool = False

    @cached_property
    def planes(self) -> tuple[np.ndarray, ...]:
        """Each channel [H,W], as stored: over thin arrays NumPy is slow."""
        return tuple(np.ascontiguousarray(plane) for plane in np.moveaxis(self.values, 2, 0))

    def planes_of(self, is_alpha: bool) -> tuple[np.ndarray, ...]:
        """Of the alpha or of the colour."""
        split = len(self.colour)
        return self.planes[split:] if is_alpha else self.planes[:split]

    @property
    def top(self) -> float:
        """The value that is 1 in `values`."""
        return 255.0 if self.values.dtype == np.uint8 else 1.0


def matte_channels(name: str, channels: Sequence[str], asked: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Channels of a picture that may be its matte: (those of colour, that of the alpha).

    Args:
        name: of the picture, for sentences.
        channels: of the picture.
        asked: a channel's name, or `LUMA`. "": those without a layer's name before them, else those of the only layer,
            or the only channel.

    Raises:
        ValueError: there is none, or none of that name.
    """
    if asked and asked.casefold() != LUMA:
        alike = [channel for channel in channels if channel.casefold() == asked.casefold()]
        alike = alike or [channel for channel in channels if channel.casefold().endswith(f".{asked.casefold()}")]
        if len(alike) != 1:
            raise ValueError(
                f"{name} holds {len(alike) or 'no'} channels {asked}, of {_list(channels)}: name one of these."
            )
        return (alike[0],), ()
    suffixes = {channel.rpartition(".")[2].lower() for channel in channels}
    if not asked and {"ry", "by"} & suffixes:
        raise ValueError(
            f"{name} holds luminance and chroma, a picture in colour, and no mask: give grey ones, or name the channel "
            "that is the matte behind the path: PATH:Y."
        )
    layers: dict[str, dict[int, str]] = {}
    for channel in channels:
        layer, _, suffix = channel.rpartition(".")
        if suffix.lower() in _SUFFIXES:
            layers.setdefault(layer, {}).setdefault(_SUFFIXES[suffix.lower()], channel)
    members = layers.get("") or (next(iter(layers.values())) if len(layers) == 1 else {})
    colour = next((kind for kind in ((0, 1, 2), (3,), (0,)) if set(kind) <= set(members)), ())
    if members and (colour or 4 in members):
        alpha = (members[4],) if 4 in members and not asked else ()
        return tuple(members[place] for place in colour), alpha
    if len(channels) == 1:
        return tuple(channels), ()
    raise ValueError(f"{name} holds no mask by its channels, {_list(channels)}: name the one that is: {_NAMED}.")


@dataclass(frozen=True)
class MatteChoice:
    """What of a sequence's pictures is their matte.

    Attributes:
        is_alpha: the alpha, or the colour.
        is_luma: its luma, where it need not be grey.
        is_unit: integers of 0 and 1 are black and white.
    """

    is_alpha: bool = False
    is_luma: bool = False
    is_unit: bool = False

    def read(self, picture: StoredPicture) -> np.ndarray:
        """The matte of a picture of the sequence, float32 [H,W] in 0..1.

        Raises:
            ValueError: the picture holds another matte than those that were looked at, none, or values that are no
                shades.
        """
        if not (picture.alpha if self.is_alpha else picture.colour):
            raise ValueError(
                f"{picture.name} has no {'alpha' if self.is_alpha else 'colour'}, which is the matte in others of its "
                "sequence: save all of them alike."
            )
        if picture.alpha and picture.colour:
            looked = _Variation()
            looked.add(picture)
            if (looked.colour_varies and not looked.is_solid) if self.is_alpha else looked.alpha_varies:
                raise _both_vary(picture)
        planes = picture.planes_of(self.is_alpha)
        if self.is_luma and len(planes) == 3:
            shades = np.stack([unit_values(plane) for plane in planes], axis=-1) @ _LUMA
        elif any(_apart(one, other) > _FLAT * picture.top for one, other in combinations(planes, 2)):
            raise _in_colour(picture)
        else:
            shades = unit_values(planes[len(planes) // 2])
        if self.is_unit and picture.white:
            shades = np.rint(shades * np.float32(picture.white))
            if shades.max() > 1:
                raise ValueError(
                    f"{picture.name} holds values up to {shades.max():g}, and others of its sequence only 0 and 1: "
                    "save all of them alike."
                )
        check_unit_range(float(shades.min()), float(shades.max()), f"The mask {picture.name}")
        return shades.clip(0.0, 1.0)


def choose_matte(pictures: Iterable[StoredPicture], asked: str = "", are_shades: bool = False) -> MatteChoice:
    """Find out what of a sequence's pictures is their matte.

    Of colour and alpha it is the one that varies: the alpha, where the colour is a single one (straight, premultiplied,
    or another where nothing is seen); the colour, where the alpha is of one value. Where nothing varies, the darker.
    Pictures are looked at, one at a time, until that is certain: mostly the first alone.

    Integers are shades, unless the whole sequence holds only 0 and 1, which then are black and white.

    Args:
        pictures: of a sequence, in order, at least one.
        asked: what was asked for, as of `matte_channels`; it vouches for shades, too, but where all are 0 and 1.
        are_shades: whether integers are shades in any case.

    Raises:
        ValueError: colour and alpha both vary; or numbers of objects (a label map) in place of shades.
    """
    looked = _Looked(bool(asked) or are_shades, are_shades)
    for picture in pictures:
        looked.add(picture)
        if looked.is_certain:
            break
    return looked.choice(asked.casefold() == LUMA)


class _Variation:
    """Whether the colour and the alpha of pictures vary, within one or from one to the next."""

    def __init__(self) -> None:
        self.low: np.ndarray = np.zeros(0)
        self.high: np.ndarray = np.zeros(0)
        self.is_solid = True
        """Whether the colour of every picture is a single one where there is any: straight or premultiplied."""

    def add(self, picture: StoredPicture) -> None:
        (alpha,) = picture.planes_of(True)
        colour = picture.planes_of(False)
        each = (*(colour * 3 if len(colour) == 1 else colour), alpha)  # grey beside RGB is one matter
        low, high = (np.array([end(plane) for plane in each]) / picture.top for end in (np.min, np.max))
        is_first = not len(self.low)
        self.low = low if is_first else np.minimum(self.low, low)
        self.high = high if is_first else np.maximum(self.high, high)
        if self.is_solid and self.colour_varies and self.alpha_varies:
            self.is_solid = _is_solid(colour, alpha, _FLAT * picture.top)

    @property
    def colour_varies(self) -> bool:
        return bool((self.high - self.low > _FLAT)[:-1].any())

    @property
    def alpha_varies(self) -> bool:
        return bool((self.high - self.low > _FLAT)[-1])


def _is_solid(colour: Sequence[np.ndarray], alpha: np.ndarray, flat: float) -> bool:
    """Whether planes of colour are of one value where alpha is above 0 and of one where it is 0, or one times alpha."""
    parts = (alpha > flat, alpha == 0)
    if all(np.ptp(plane[part]) <= flat for part in parts if part.any() for plane in colour):
        return True
    densest = np.unravel_index(alpha.argmax(), alpha.shape)
    density = alpha.astype(np.float32) / np.float32(alpha[densest])
    return all(np.abs(plane - density * np.float32(plane[densest])).max() <= flat for plane in colour)


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """By how much two planes differ at most."""
    if one.dtype == np.uint8:
        return float(np.max(np.maximum(one, other) - np.minimum(one, other)))
    return float(np.abs(one - other).max())


class _Looked:
    """What is known of a sequence by its pictures so far."""

    def __init__(self, are_vouched_for: bool, are_shades: bool) -> None:
        self._are_vouched_for = are_vouched_for
        self._first: StoredPicture | None = None
        self._variation = _Variation()
        self._numbers = {False: _Numbers(are_shades), True: _Numbers(are_shades)}  # of the colour, of the alpha

    def add(self, picture: StoredPicture) -> None:
        first = self._first = self._first or picture
        if any(bool(one) != bool(other) for one, other in zip(_channels(picture), _channels(first))):
            raise ValueError(
                f"{picture.name} has the channels {_list(sum(_channels(picture), ()))}, and {first.name} "
                f"{_list(sum(_channels(first), ()))}: save all of them alike."
            )
        if picture.colour and picture.alpha:
            self._variation.add(picture)
            if self._variation.colour_varies and self._variation.alpha_varies and not self._variation.is_solid:
                raise _both_vary(picture)
        for is_alpha, names in enumerate(_channels(picture)):
            if names:
                self._numbers[bool(is_alpha)].add(picture, bool(is_alpha))

    @property
    def is_certain(self) -> bool:
        is_alpha = self._is_alpha()
        return is_alpha is not None and self._numbers[is_alpha].are_shades

    def _is_alpha(self) -> bool | None:
        """Whether the alpha is the matte; None while that is open."""
        assert self._first is not None
        if not (self._first.colour and self._first.alpha):
            return bool(self._first.alpha)
        if self._variation.alpha_varies or self._variation.colour_varies:
            return self._variation.alpha_varies
        return None

    def choice(self, is_luma: bool) -> MatteChoice:
        if self._first is None:
            raise ValueError("There are no masks: at least one is needed.")
        is_alpha = self._is_alpha()
        if is_alpha is None:
            is_alpha = self._variation.high[-1] < self._variation.high[:-1].min()
        is_unit = self._numbers[bool(is_alpha)].are_units(self._first.name, self._are_vouched_for)
        return MatteChoice(bool(is_alpha), is_luma, is_unit)


class _Numbers:
    """How often each integer stands in the pictures of a sequence."""

    def __init__(self, are_shades: bool) -> None:
        self.are_shades = are_shades
        """Whether the pictures so far leave no doubt."""
        self._counts: dict[int, np.ndarray] = {}
        self._are_exact = True

    def add(self, picture: StoredPicture, is_alpha: bool) -> None:
        planes, white = picture.planes_of(is_alpha), picture.white
        plane = planes[len(planes) // 2]
        self.are_shades = self.are_shades or not white or float(plane.max()) > 0.5 * picture.top
        self._are_exact = self._are_exact and not picture.is_lossy
        if white:
            numbers = (
                plane if picture.top == white else np.rint(plane * np.float32(white / picture.top)).astype(np.int64)
            )
            self._counts[white] = self._counts.get(white, 0) + np.bincount(numbers.ravel(), minlength=white + 1)

    def are_units(self, name: str, are_vouched_for: bool) -> bool:
        """Whether they are only 0 and 1.

        Args:
            name: of the first picture, for sentences.
            are_vouched_for: whether all others are shades.

        Raises:
            ValueError: they are no shades.
        """
        highest = [int(np.flatnonzero(counts)[-1]) for counts in self._counts.values()]
        if highest and not self.are_shades and max(highest) == 1:
            return True
        if not are_vouched_for:
            for white, counts in self._counts.items():
                self._check_shades(name, white, counts)
        return False

    def _check_shades(self, name: str, white: int, counts: np.ndarray) -> None:
        levels = np.flatnonzero(counts)
        highest, few = int(levels[-1]), len(levels) <= _FEW
        if self.are_shades:  # numbers, and white for what does not count
            low = levels[(levels > 0) & (levels < _FEW)]
            is_rest_white = np.array_equal(levels[levels >= _FEW], [white])
            are_numbers = self._are_exact and is_rest_white and counts[low].sum() > _SHARE * counts.sum()
        else:
            lowest_shade = white // 2 if white == 255 else white // 16
            are_many = len(levels) > 2 or (len(levels) > 1 and white > 255)
            are_numbers = few and 0 < highest <= lowest_shade and (highest < _FEW or are_many)
        if are_numbers:
            raise ValueError(
                f"{name} and the rest of its sequence hold the values {_list([str(level) for level in levels])} of 0 "
                f"to {white}, which are numbers of objects and no shades of a mask: save the one wanted as black and "
                f"white; or, if they are shades, name the channel: {_NAMED}."
            )
        has_plateau = counts[highest] > _PLATEAU * counts[1:].sum()
        if not self.are_shades and highest in _WHITES and highest < white // 8 and has_plateau:
            raise ValueError(
                f"{name} and the rest of its sequence hold values up to {highest} of 0 to {white}, the white of fewer "
                f"bits: save them scaled; or, if they are as dark as that, name the channel: {_NAMED}."
            )


def _channels(picture: StoredPicture) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return picture.colour, picture.alpha


def _both_vary(picture: StoredPicture) -> ValueError:
    return ValueError(
        f"Of the masks up to {picture.name} both the colour and the alpha vary, and either may be the matte: save the "
        f"matte alone, or name its channel: {_NAMED}."
    )


def _in_colour(picture: StoredPicture) -> ValueError:
    if picture.is_palette:
        return ValueError(
            f"{picture.name} holds the colours of a palette, which show numbers of objects, and is no mask: save the "
            "one wanted as black and white."
        )
    further = f" It has the channels {_list(picture.others)}, too." if picture.others else ""
    return ValueError(
        f"{picture.name} is a picture in colour and no mask: give grey ones, such as a run's soft, masks or alpha; or "
        f"name the channel that is the matte: {_NAMED}.{further}"
    )


def _list(names: Sequence[str]) -> str:
    return ", ".join([*names[:_SHOWN], "..."] if len(names) > _SHOWN else names)
