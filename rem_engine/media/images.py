"""Still images and image sequences as shots."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from .attributes import Attributes, of_exr, of_picture, tags_of
from .colour import ColourTags, luminance_weights
from .exr_layers import Picture, choose_picture
from .numbering import Numbering, counted, told_numbers
from .plate_colour import PlateColour
from .plate_settings import AUTO, PlateSettings
from .plate_space import linear_space
from .shot import Shot, ShotInfo, check_frame_size
from .stated_space import Stated, space_of_picture
from .stills import Part, Still
from .timecode import STILLS_FPS, exact_rate, from_exr, is_timecode, parse_timecode
from .windows import Box, Windows

_FASTEST = 10_000  # frames per second: beyond that a header's number is no rate
# OpenImageIO's names for an EXR's rate, a DPX's of its television header, and of its film header.
_RATES = ("framesPerSecond", "FramesPerSecond", "dpx:TemporalFrameRate", "dpx:FrameRate")
_TIMED_KINDS = ("openexr", "dpx")
_TIMECODES_KEPT = 1024
_AS_IS = PlateSettings()


class ImageShot(Shot):
    """Images on disk as the frames of a shot, in the order given.

    8-bit images are read as uint8, 10-bit to 16-bit and floating-point ones as float32 0..1. Frame rate and timecode
    are those an EXR's or a DPX's first frame states, chromaticities an EXR's. One header is read on opening, the first
    frame's; that the others are of its size is seen when they are read.

    An EXR's overscan belongs to its picture: frames are as large as display and data window together, black where a
    data window does not reach. Where the first frame's windows differ, all headers are read, since such data windows
    often move: what any frame holds is in the picture. Otherwise later frames are cut to the first one's window.
    """

    def __init__(
        self, name: str, files: Sequence[Path], plate: PlateSettings = _AS_IS, numbering: Numbering | None = None
    ) -> None:
        """Take the files of frames; without a numbering they count from 1001.

        Raises ValueError for an unreadable first frame, one under 16 pixels or one that memory does not hold.
        """
        super().__init__()
        self.name = name
        self.files = tuple(files)
        self._numbering = numbering or counted(name, len(self.files))
        self._plate = plate
        self._cut: set[int] = set()  # numbers of frames; all readers' together
        self._timecodes: dict[int, str | None] = {}  # of frames whose headers were read last; all readers' together
        with Still(self.files[0]) as still:
            picture = _picture(still, plate)
            part, self.exr_view = picture.part, picture.view
            stated, self._display = still_info(still, part), part.display
            self._stated_space = space_of_picture(self.files[0].name, still.kind, part.attributes)
            self._canvas = self._display if part.data == part.display else self._whole_of_all()
            still.check_fits(part, self._canvas)
            self._kind_has_timecode = still.kind in _TIMED_KINDS
        self.height, self.width = self._canvas.height, self._canvas.width
        if self._canvas != Box(0, 0, self._display.width, self._display.height):
            self.windows = Windows(self._canvas, self._display)
        self.tags = tags_of(_attributes(still.kind, part))
        self.fps, self.timecode = stated.fps, self._timecode_of_the_first(stated)
        self.colour, self.pixel_aspect = stated.colour, stated.pixel_aspect
        check_frame_size(self.files[0].name, self.height, self.width)

    @property
    def frame_count(self) -> int:
        return len(self.files)

    @property
    def numbering(self) -> Numbering:
        return self._numbering

    @property
    def stated_space(self) -> Stated:
        return self._stated_space

    @property
    def left_out(self) -> str:
        if not self._cut:
            return ""
        return (
            f"The data window of {self.files[0].name} is its display window, and those of frames "
            f"{told_numbers(self._cut)} reach beyond it: what they hold there is left out."
        )

    def _timecode_of_the_first(self, stated: ShotInfo) -> str | None:
        """That of frame 0: where it is missing, of the frame that stands in for it less their distance."""
        fps, timecode, numbers = stated.fps or STILLS_FPS, stated.timecode, self._numbering.numbers
        if timecode is None or not self._numbering.is_missing(0) or not is_timecode(timecode, fps):
            return timecode
        distance = numbers[0] - numbers[self._numbering.present[0]]
        return str(parse_timecode(timecode, fps).after(distance, fps))

    def _own_timecode(self, index: int) -> str | None:
        if not self._kind_has_timecode:
            return None
        if index not in self._timecodes:
            with Still(self.files[index]) as still:
                self._note_timecode(index, still, _picture(still, self._plate).part)
        return self._timecodes[index]

    def _note_timecode(self, index: int, still: Still, part: Part) -> None:
        self._timecodes[index] = still_info(still, part).timecode
        if len(self._timecodes) > _TIMECODES_KEPT:
            del self._timecodes[next(iter(self._timecodes))]

    def reopen(self) -> ImageShot:
        again = copy.copy(self)
        again.close()  # frames that are kept are each reader's own
        return again

    def _frame(self, index: int) -> np.ndarray:
        file = self.files[index]
        with Still(file) as still:
            picture = _picture(still, self._plate)
            if (display := picture.part.display) != self._display:
                raise ValueError(
                    f"The frames of {self.name} differ in size: {self.files[0].name} is {self._display}, but "
                    f"{file.name} is {display}; bring them to one size, or keep one shot per folder."
                )
            if self._plate.plate_space == AUTO:
                self._check_space(file, space_of_picture(file.name, still.kind, picture.part.attributes))
            self._said[index] = partial(_attributes, still.kind, picture.part)
            if self._kind_has_timecode:
                self._note_timecode(index, still, picture.part)
            if self._canvas.union(picture.part.data) != self._canvas:
                self._cut.add(self._numbering.numbers[index])
            return _rgb(still, picture, self._canvas)

    def _check_space(self, file: Path, stated: Stated) -> None:
        """Refuse a frame that says it is of another colour space than the first one."""
        if stated.space != self._stated_space.space:
            first, other = (one.space.name if one.space else "not said" for one in (self._stated_space, stated))
            raise ValueError(
                f"The frames of {self.name} differ in colour space: {self.files[0].name} is {first}, but {file.name} "
                f"{other}; name one with --plate-space, or keep one shot per folder."
            )

    def _whole_of_all(self) -> Box:
        """What the display window and all frames' data windows cover, by all headers."""
        whole = self._display
        for file in self.files:
            with Still(file) as still:
                whole = whole.union(_picture(still, self._plate).part.data)
        return whole


def image_size(file: Path) -> tuple[int, int]:
    """(height, width) of an image as displayed, from its header.

    Raises:
        ValueError: not an image.
    """
    with Still(file) as still:
        whole = _picture(still, _AS_IS).part.whole
        return whole.height, whole.width


def read_image(file: Path) -> np.ndarray:
    """RGB [H,W,3] of an image as displayed: uint8, or float32 0..1 where it holds more than 8 bits a channel.

    Alpha is dropped. Colours are of the space that the file states.

    Raises:
        ValueError: a damaged file, one of a kind that is not supported, or one that does not say of which curve its
            logarithmic colours are.
    """
    with Still(file) as still:
        picture = _picture(still, _AS_IS)
        stated = space_of_picture(file.name, still.kind, picture.part.attributes)
        return PlateColour(stated.required()).display(_rgb(still, picture))


def still_info(still: Still, part: Part) -> ShotInfo:
    """What a picture's header says; only those of EXR and DPX say more here than the size as displayed."""
    stated = part.attributes
    height, width = part.whole.height, part.whole.width
    if still.kind not in _TIMED_KINDS:
        return ShotInfo(height, width)
    rates = [_number(stated.get(name)) for name in _RATES]
    fps = next((exact_rate(rate) for rate in rates if 0 < rate < _FASTEST), None)
    aspect = _number(stated.get("PixelAspectRatio"))
    xy = stated.get("chromaticities")
    return ShotInfo(
        height,
        width,
        fps,
        _timecode(stated.get("smpte:TimeCode"), still.kind, fps),
        ColourTags(chromaticities=tuple(map(float, xy)) if isinstance(xy, tuple) and len(xy) == 8 else None),
        Fraction(aspect).limit_denominator(1000) if 0.01 < aspect < 100 else Fraction(1),
    )


def _attributes(kind: str, part: Part) -> Attributes:
    return of_exr(part.attributes, part.types) if kind == "openexr" else of_picture(part.attributes)


def _number(stated: object) -> float:
    """A number or a ratio of two; 0 where neither is stated."""
    if isinstance(stated, tuple):
        return stated[0] / stated[1] if len(stated) == 2 and stated[1] else 0.0
    return float(stated) if isinstance(stated, (int, float)) and math.isfinite(stated) else 0.0


def _timecode(stated: tuple[int, int] | None, kind: str, fps: Fraction | None) -> str | None:
    if stated is None:
        return None
    if kind == "openexr":
        return str(from_exr(stated[0], fps))
    digits = f"{stated[0] & 0xFFFFFFFF:08x}"  # binary-coded decimals, as ST 12-1 packs them
    return ":".join(digits[i : i + 2] for i in range(0, 8, 2)) if digits.isdecimal() else None


def _picture(still: Still, plate: PlateSettings) -> Picture:
    if still.kind == "openexr":
        return choose_picture(still.file, still.parts, plate.layer, plate.view)
    if plate.layer or plate.view:
        raise ValueError(f"{still.file.name} is no EXR, and holds no layers or views to ask for.")
    if "oiio:Movie" in still.parts[0].attributes:
        raise ValueError(f"{still.file.name} is an animation of several frames: give it alone, as a shot.")
    names = still.parts[0].channels
    channels = names[:3] if len(names) >= 3 else names[:1]
    return Picture(still.parts[0], "", "", channels)


def _rgb(still: Still, picture: Picture, canvas: Box | None = None) -> np.ndarray:
    """[H,W,3] as stored: uint8, or float32."""
    pixels = still.read(picture.part, picture.channels, canvas)
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    if picture.is_luminance:
        return _from_luminance(pixels, picture.part, still.file)
    return pixels


def _from_luminance(pixels: np.ndarray, part: Part, file: Path) -> np.ndarray:
    """R, G, B of Y, RY, BY, as OpenEXR's ImfRgbaYca.h has them: RY is (R - Y) / Y, BY is (B - Y) / Y."""
    xy = ColourTags(chromaticities=part.attributes.get("chromaticities")).xy()
    try:
        linear_space(xy)
    except ValueError:
        raise ValueError(
            f"The chromaticities of {file.name} span no colours, so that its luminance and chroma give none: save it "
            "as R, G, B."
        ) from None
    weights = luminance_weights(xy)
    luminance, red, blue = (pixels[..., place] for place in range(3))
    red, blue = (red + 1) * luminance, (blue + 1) * luminance
    green = (luminance - weights[0] * red - weights[2] * blue) / weights[1]
    return np.stack([red, green, blue], axis=-1).astype(np.float32)
