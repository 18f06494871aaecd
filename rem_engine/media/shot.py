"""What a shot on disk is, whatever its format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING

import numpy as np

from ..frames import SMALLEST_SIDE
from ..pixels import unit_values
from .attributes import Attributes, without_its_time
from .colour import LUMA, REC_709, ColourTags, default_matrix
from .frame_times import FrameTimes
from .hdr import HdrMetadata
from .numbering import Numbering
from .plate_colour import PlateColour
from .plate_space import SRGB_TRANSFER, PlateSpace, linear_space, tagged_space
from .sound import Sound
from .stated_space import Stated
from .timecode import STILLS_FPS, is_timecode, parse_timecode
from .windows import Windows

if TYPE_CHECKING:
    from .fields import FieldOrder  # brings FFmpeg


@dataclass(frozen=True)
class ShotInfo:
    """What a delivery takes over from its shot.

    Attributes:
        height, width: pixels.
        fps: frames per second, None for stills.
        timecode: of the first frame, HH:MM:SS:FF, or HH:MM:SS;FF for drop frame; None where there is none.
        colour: tags of its colours.
        pixel_aspect: width of a pixel over its height, 1 unless it is anamorphic.
        times: when each frame is shown; None where the rate is constant.
        field_order: of interlaced frames, "top" or "bottom" field first; None for progressive ones.
        hdr: of HDR pictures, the display they were graded on and how bright they get.
        notes: what a run says of the shot before it begins, a sentence each.
        windows: of an EXR shot whose frames are not just their display window from (0, 0) on; None elsewhere.
        plate_colour: what the plate's values are, and how they are seen; None where only the tags are known.
        sound: that of its frames; None where there is none.
        exr_view: the one of a stereo EXR that is read ("left"); "" elsewhere.
        tags: what delivered videos say of the shot in tags of their own.
    """

    height: int
    width: int
    fps: Fraction | None = None
    timecode: str | None = None
    colour: ColourTags = field(default_factory=ColourTags)
    pixel_aspect: Fraction = Fraction(1)
    times: FrameTimes | None = None
    field_order: FieldOrder | None = None
    hdr: HdrMetadata | None = None
    notes: tuple[str, ...] = ()
    windows: Windows | None = None
    plate_colour: PlateColour | None = None
    sound: Sound | None = None
    exr_view: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def space(self) -> PlateSpace:
        """The colour space of the plate; without `plate_colour` that of the tags."""
        if self.plate_colour is not None:
            return self.plate_colour.space
        tags = self.colour
        if tags.chromaticities is not None:
            return linear_space(tags.chromaticities)
        return tagged_space(tags.primaries, tags.transfer, tags.matrix)

    @property
    def picture_tags(self) -> ColourTags:
        """Codes of H.273, all of them, of the plate's pictures in PNG and videos: the plate's own code values where
        these have codes, else sRGB."""
        tags = self.space.tags or ColourTags(REC_709, SRGB_TRANSFER)
        matrix = tags.matrix if tags.matrix in LUMA else default_matrix(self.height, tags.primaries)
        return ColourTags(tags.primaries or REC_709, tags.transfer or REC_709, matrix)


class Shot(ABC):
    """Frames on disk, read in order and in ranges, so that a shot need never be in memory whole.

    A Shot is a `FrameSource` of the segmenter and a context manager.

    Attributes:
        name: file name without its suffix, or the folder's name.
        files: what it is made of.
        height, width: size of every frame as displayed (after rotation), pixels.
        fps: frames per second, None for stills that do not say.
        timecode: of the first frame, HH:MM:SS:FF, or HH:MM:SS;FF for drop frame; None where there is none.
        colour: the file's own colour tags.
        pixel_aspect: width of a pixel over its height, as displayed.
        windows: of an EXR shot whose frames are not just their display window from (0, 0) on; None elsewhere.
        exr_view: the one of a stereo EXR that is read ("left"); "" elsewhere.
        tags: what delivered videos say of the shot in tags of their own.
    """

    name: str
    files: tuple[Path, ...]
    height: int
    width: int
    fps: Fraction | None
    timecode: str | None = None
    colour: ColourTags
    pixel_aspect: Fraction = Fraction(1)
    plate_colour: PlateColour
    windows: Windows | None = None
    exr_view: str = ""
    tags: Mapping[str, str] = MappingProxyType({})

    def __init__(self) -> None:
        self.plate_colour = PlateColour()
        self._said: dict[int, Callable[[], Attributes]] = {}
        self._recent: list[np.ndarray] = []
        self._recent_start = 0

    @property
    @abstractmethod
    def frame_count(self) -> int:
        """Frames in the shot, exact.

        Raises:
            ValueError: a damaged or truncated file.
        """

    @property
    def info(self) -> ShotInfo:
        """What a delivery of this shot takes over from it.

        A timecode that does not exist at the shot's rate (headers are often wrong) is left out.
        """
        timecode = self.timecode
        if timecode is not None and not is_timecode(timecode, self.fps or STILLS_FPS):
            timecode = None
        return ShotInfo(
            self.height,
            self.width,
            self.fps,
            timecode,
            self.colour,
            self.pixel_aspect,
            notes=(told,) if (told := self.numbering.told_missing) else (),
            windows=self.windows,
            plate_colour=self.plate_colour,
            exr_view=self.exr_view,
            tags=self.tags,
        )

    @property
    @abstractmethod
    def numbering(self) -> Numbering:
        """Names and numbers of its frames."""

    def timecode_of(self, index: int, fps: Fraction | None = None) -> str | None:
        """Timecode of a frame: its own, or else the shot's first and the frame's distance from it.

        Args:
            index: of the frame.
            fps: frames per second; None for the shot's own, 24 for stills.
        """
        fps, numbering = fps or self.fps or STILLS_FPS, self.numbering
        if not numbering.is_missing(index):
            own = self._own_timecode(index)
            if own is not None and is_timecode(own, fps):
                return own
        info = self.info
        if info.timecode is None or not is_timecode(info.timecode, fps):
            return None
        return str(parse_timecode(info.timecode, fps).after(frames_from_first(info, numbering, index, fps), fps))

    def _own_timecode(self, index: int) -> str | None:
        """What a frame's file says of it alone."""
        return None

    def attributes(self, index: int) -> Attributes:
        """What the header of a frame's file says that goes with the frame into a delivered EXR; see `attributes`.

        It was read with the frame: of one that `read` has just given nothing is read again.
        """
        if index not in self._said:
            self._kept(index, index + 1)
        said = self._said[index]() if index in self._said else {}
        return without_its_time(said) if self.numbering.is_missing(index) else said

    @property
    def left_out(self) -> str:
        """What frames that were read hold and the shot does not show, a sentence; "" where that is nothing."""
        return ""

    @property
    @abstractmethod
    def stated_space(self) -> Stated:
        """What its first frame, or the file, says of its colours."""

    @abstractmethod
    def reopen(self) -> Shot:
        """Another reader of the same shot, to be closed on its own."""

    @abstractmethod
    def _frame(self, index: int) -> np.ndarray:
        """Frame `index` as [H,W,3], uint8 or float32, as stored; calls with rising indices are cheap."""

    def read(self, start: int, stop: int, *, shared: bool = False) -> np.ndarray:
        """Frames `start`..`stop` (half-open).

        Meant for ranges that move forward: frames that two neighbouring ranges share are not decoded again. Going
        back before the last range works too, but may start decoding anew from the first frame.

        Args:
            shared: a single frame need not be the caller's own, who then writes nothing into it.

        Returns:
            [stop-start,H,W,3] RGB: uint8 0..255 where the file holds R, G and B of 8 bits and they are shown as they
            are, else display-referred float32 0..1.

        Raises:
            ValueError: an empty range or one outside the shot, or a frame that cannot be decoded.
        """
        return self._given(self.plate_colour.display, start, stop, shared)

    def read_unviewed(self, start: int, stop: int) -> np.ndarray:
        """Frames `start`..`stop` (half-open) before their view, for a resize: see `ViewedFrames`.

        Returns:
            [stop-start,H,W,3]: what `read` gives where the plate's values are shown as they are; else float32 in 0..1.

        Raises:
            ValueError: as `read`.
        """
        if self.plate_colour.shows_as_is:
            return self.read(start, stop)
        return np.stack([self.plate_colour.roots(unit_values(frame)) for frame in self._kept(start, stop)])

    @property
    def view(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """Brings what `read_unviewed` gave, resized, to display values; None where that is what they are."""
        return None if self.plate_colour.shows_as_is else self.plate_colour.shown

    def read_linear(self, start: int, stop: int, *, shared: bool = False) -> np.ndarray:
        """Frames `start`..`stop` (half-open) in scene-linear light; decodes no frame that `read` has just decoded.

        Scene-linear plates are given as they are stored, values above 1 and below 0 with them. The curve of others is
        undone.

        Returns:
            float32 [stop-start,H,W,3] RGB, of the plate's own gamut.

        Raises:
            ValueError: as `read`.
        """
        return self._given(self.plate_colour.light, start, stop, shared)

    def read_picture(self, start: int, stop: int, *, shared: bool = False) -> np.ndarray:
        """Frames `start`..`stop` (half-open) as PNG and videos have them: the plate's own code values where tags can
        say what these are, else display sRGB without the exposure.

        Returns:
            [stop-start,H,W,3] RGB: uint8, or float32 0..1.

        Raises:
            ValueError: as `read`.
        """
        return self._given(self.plate_colour.picture, start, stop, shared)

    def _given(self, colours: Callable[[np.ndarray], np.ndarray], start: int, stop: int, shared: bool) -> np.ndarray:
        kept = self._kept(start, stop)
        frames = [colours(frame) for frame in kept]
        if len(frames) == 1 and (shared or not np.may_share_memory(frames[0], kept[0])):
            return frames[0][None]
        return _stacked(frames)

    def _kept(self, start: int, stop: int) -> list[np.ndarray]:
        """The frames as stored; those of the last range are at hand."""
        if not 0 <= start < stop <= self.frame_count:
            raise ValueError(
                f"{self.name} has frames 0 to {self.frame_count - 1}; the range {start}..{stop} cannot be read."
            )
        held = {index: frame for index, frame in enumerate(self._recent, self._recent_start) if start <= index < stop}
        self._recent = []  # of no use any more, and large
        self._recent = [held[index] if index in held else self._filled(index) for index in range(start, stop)]
        self._recent_start = start
        self._said = {index: said for index, said in self._said.items() if start <= index < stop}
        return self._recent

    def _filled(self, index: int) -> np.ndarray:
        frame = self._frame(index)
        if not self.numbering.is_black(index):
            return frame
        black = self.plate_colour.black
        return np.full_like(frame, round(255 * black) if frame.dtype == np.uint8 else black)

    def forget(self) -> None:
        """Let go of kept frames, and of nothing else."""
        self._recent = []

    def close(self) -> None:
        """Let go of open files and kept frames."""
        self._recent, self._said = [], {}

    def __enter__(self) -> Shot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _stacked(frames: list[np.ndarray]) -> np.ndarray:
    """Frames as one array: uint8, or float32 where one is."""
    if any(frame.dtype != np.uint8 for frame in frames):
        frames = [unit_values(frame) for frame in frames]
    return np.stack(frames)


def frames_from_first(info: ShotInfo, numbering: Numbering, index: int, fps: Fraction) -> int:
    """How many frames of timecode a frame is behind the first: by its number, at a variable rate by its time."""
    if info.times is not None:
        return round(info.times[index] * fps)
    return numbering.numbers[index] - numbering.numbers[0]


def check_frame_size(name: str, height: int, width: int) -> None:
    """Raise ValueError for frames too small for the models to see."""
    if min(height, width) < SMALLEST_SIDE:
        raise ValueError(
            f"{name} is {width}x{height} pixels, but at least {SMALLEST_SIDE}x{SMALLEST_SIDE} are needed: "
            "give a larger version of it."
        )
