"""Video files, through PyAV (FFmpeg)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..input_files import told_as_damage
from ..memory import check_fits
from .attributes import Attributes, kept_tags, of_tags
from .colour import REC_709, default_matrix, video_tags
from .decoded import rgb_pixels, says_matrix
from .fields import FieldOrder, order_of_frame, seen_order, stated_order
from .foreign import check_form, check_name, read_head
from .hdr import HdrMetadata, hdr_metadata
from .numbering import Numbering, counted
from .orientation import Orientation, from_matrix, turned_clockwise
from .shot import Shot, ShotInfo, check_frame_size
from .sound import Sound, sound_tracks
from .stated_space import Stated, space_of_video
from .timecode import STILLS_FPS, is_timecode, parse_timecode
from .video_survey import Survey, survey

# Of memory a pixel takes at least: the decoder's picture, and the frame as float32.
_BYTES = 16
# What stands beside a shot: covers, and pictures for finding a place in it.
_NO_SHOT = Disposition.attached_pic | Disposition.timed_thumbnails
_ADVICE = "the file is truncated or damaged, copy or export it again."

_Video = TypeVar("_Video", bound="VideoShot")


class VideoShot(Shot):
    """A video file, decoded forward; its first frame is decoded on opening.

    Of several streams of pictures the one flagged default is the shot; covers and thumbnails never are. Frames are what
    the file holds, see `rgb_pixels`: R, G and B of 8 bits as uint8, all else (H.264, ProRes, DNxHR, ...) as float32.
    Transfer functions (log, PQ, HLG) are left as they are. Interlaced frames are given as they are, both fields in one
    picture.

    The rate is that of the time stamps, since headers are often wrong.
    """

    def __init__(self, path: Path) -> None:
        """Raises ValueError for a file that is no video, holds no frame, or is too small."""
        super().__init__()
        self.name, self.files = path.stem, (path,)
        self._path = path
        self._container: InputContainer | None = None
        self._frames: Iterator[VideoFrame] = iter(())
        self._next = 0
        self._chosen: tuple[int, ...] | None = None
        self._counted_from = 0  # place of the frame that is the first by its number
        self._reopen()
        first = self._decode_next(0)
        self._first: VideoFrame | None = first
        with told_as_ffmpegs_damage(f"{path.name} cannot be read as a video: {_ADVICE}"):
            self._orientation = self._orientation_of(first)
            self._stored_order: FieldOrder | None = order_of_frame(first) or self._header_order
            self._hdr = _hdr_of(first)
        self._stored_height = first.height
        self._says_matrix = says_matrix(first)
        turned = self._orientation.transposed
        self.height, self.width = (first.width, first.height) if turned else (first.height, first.width)
        self.pixel_aspect = 1 / self._stored_aspect if turned else self._stored_aspect
        check_frame_size(path.name, self.height, self.width)

    @property
    def frame_count(self) -> int:
        """Frames in the shot, counted on first use, when the file is looked through once from end to end.

        Raises:
            ValueError: a file that ends before its own header says it should.
        """
        return self._survey.frame_count if self._chosen is None else len(self._chosen)

    @property
    def stated_space(self) -> Stated:
        stated = space_of_video(self._path.name, self.colour, self._metadata)
        if self._says_matrix or stated.space is None:
            return stated
        matrix = default_matrix(self._stored_height, self.colour.primaries)
        taken = {REC_709: "Rec. 709's", 9: "Rec. 2020's"}.get(matrix, "Rec. 601's")
        return replace(stated, source=f"{stated.source}; matrix not said, taken as {taken}")

    @cached_property
    def numbering(self) -> Numbering:
        every = counted(self.name, self._survey.frame_count)
        if self._chosen is None:
            return every
        return every.only([index - self._counted_from for index in self._chosen])

    def choose(self, frames: Sequence[int]) -> None:
        """Be a shot of some frames alone, by their places in what it was, rising; before any is read."""
        self._chosen = tuple(frames if self._chosen is None else (self._chosen[index] for index in frames))
        for kept in ("info", "numbering"):
            vars(self).pop(kept, None)
        self.timecode = self._at_the_first(self._file_timecode)

    def trim(self, start: float, duration: float) -> None:
        """Be what is shown from `start` on, seconds of the file's own clock, for `duration` (0: to the end); before any
        is read. Numbers count from its first frame.

        Raises:
            ValueError: nothing is.
        """
        frames = self._survey.shown_between(start, duration)
        if not frames:
            span = f"from {start:g} to {start + duration:g} seconds" if duration else f"from {start:g} seconds on"
            raise ValueError(f"{self._path.name} shows no frame {span}: trim it otherwise.")
        self._counted_from = frames[0]
        self.choose(frames)

    @cached_property
    def fps(self) -> Fraction | None:  # type: ignore[override]  # found on first use, and never set
        return self._survey.timing.fps

    @cached_property
    def info(self) -> ShotInfo:
        timing = self._survey.timing
        stored = self._stored_order or self._survey.field_order
        order = seen_order(stored, self._orientation, self._stored_height)
        info = super().info
        notes = [*info.notes, *self._time_notes()]
        if stored is not None:
            kept = "videos keep their order" if order else "turned by 90 degrees, which no video can say"
            notes.append(f"{self._path.name} is interlaced, {stored} field first: its fields stay as they are, {kept}.")
        times = timing.times
        if times is not None and self._chosen is not None:
            times = times.of_frames(self._chosen)
        return replace(
            info, times=times, field_order=order, hdr=self._hdr, sound=self._sound(info.fps), notes=tuple(notes)
        )

    def _sound(self, fps: Fraction | None) -> Sound | None:
        """That of the frames, where they follow one another."""
        count, times = self._survey.frame_count, self._survey.timing.times
        first, last = (0, count - 1) if self._chosen is None else (self._chosen[0], self._chosen[-1])
        if not self._sound_tracks or last - first + 1 != self.frame_count:
            return None
        start = times[first] if times is not None else first / (fps or STILLS_FPS)
        end = times[last] + times.duration(last) if times is not None else (last + 1) / (fps or STILLS_FPS)
        return Sound(self._path, self._sound_tracks, self._survey.start + start, end - start)

    def _time_notes(self) -> Iterator[str]:
        """What there is to say of the time stamps."""
        timing, name = self._survey.timing, self._path.name
        if timing.times is not None:
            slowest, fastest = (float(rate) for rate in timing.times.rates)
            yield (
                f"{name} has a variable frame rate, {slowest:.4g} to {fastest:.4g} frames per second: "
                f"videos keep the time of each frame, and image sequences state {float(timing.fps or 0):.6g}."
            )
        elif (
            timing.fps and self._header_rates and all(abs(timing.fps / rate - 1) > 0.001 for rate in self._header_rates)
        ):
            yield (
                f"The header of {name} states {float(self._header_rates[0]):.6g} frames per second and its time stamps "
                f"{float(timing.fps):.6g}: the time stamps count."
            )
        if timing.mended:
            yield (
                f"{timing.mended} of the {self._survey.frame_count} frames of {name} have no time stamp that fits: "
                "they are set evenly between the others."
            )

    @cached_property
    def _survey(self) -> Survey:
        container, stream = _open(self._path)
        with container:
            with told_as_ffmpegs_damage(f"{self._path.name} cannot be decoded to its end: {_ADVICE}"):
                found = survey(container, stream)
            if found.shortfall:
                raise ValueError(f"{self._path.name} ends {found.shortfall} its header announces: {_ADVICE}")
            if found.change is not None:
                index, width, height = found.change
                raise self._other_size(index, *((height, width) if self._orientation.transposed else (width, height)))
            return found

    def reopen(self: _Video) -> _Video:
        again = type(self)(self._path)
        if "_survey" in vars(self):  # it decodes the whole file
            again._survey = self._survey
        if self._chosen is not None:
            again.choose(self._chosen)
            again._counted_from = self._counted_from
        again.plate_colour = self.plate_colour
        return again

    def close(self) -> None:
        super().close()
        self._first = None
        self._frames = iter(())
        if self._container is not None:
            self._container.close()
            self._container = None

    def _frame(self, index: int) -> np.ndarray:
        if self._chosen is not None:
            index = self._chosen[index]
        if index == 0 and self._first is not None:
            return self._pixels(self._first, 0)
        self._first = None
        if self._container is None or index < self._next:
            self._reopen()
        while self._next < index:
            self._decode_next(index)
        return self._pixels(self._decode_next(index), index)

    def _reopen(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container, stream = _open(self._path)
        with told_as_ffmpegs_damage(f"{self._path.name} cannot be read as a video: {_ADVICE}"):
            stream.thread_type = "AUTO"
            self._header_rates = [rate for rate in (stream.average_rate, stream.codec_context.framerate) if rate]
            # PyAV before 18.1 does not know it.
            self._header_order = stated_order(getattr(stream.codec_context, "field_order", 0))
            self._tagged_turn = _tagged_turn(stream)
            self._sound_tracks = sound_tracks(self._container)
            self._file_timecode = _timecode(self._container)
            self.timecode = self._at_the_first(self._file_timecode)
            self._stored_aspect = stream.sample_aspect_ratio or Fraction(1)
            codec = stream.codec_context
            self.colour = video_tags(codec.color_primaries, codec.color_trc, codec.colorspace)
            self._metadata = {**self._container.metadata, **stream.metadata}
            self.tags = kept_tags(_reel(self._container), self._metadata)
            self._frames = self._decoded(self._container, stream)
        self._next = 0

    def attributes(self, index: int) -> Attributes:
        return of_tags(self.tags)

    def _at_the_first(self, timecode: str | None) -> str | None:
        """The timecode of the shot's first frame, of the file's; one that does not exist stays as it is."""
        if self._chosen is None or timecode is None or not is_timecode(timecode, fps := self.fps or STILLS_FPS):
            return timecode
        return str(parse_timecode(timecode, fps).after(self._counted_to(self._chosen[0]), fps))

    def _own_timecode(self, index: int) -> str | None:
        """Where the rate varies, timecode goes by the time."""
        timecode, fps = self.info.timecode, self.fps or STILLS_FPS
        if timecode is None or self._survey.timing.times is None:
            return None
        first, place = (0, index) if self._chosen is None else (self._chosen[0], self._chosen[index])
        return str(parse_timecode(timecode, fps).after(self._counted_to(place) - self._counted_to(first), fps))

    def _counted_to(self, place: int) -> int:
        """How many frames a clock at the shot's rate has counted when a frame of the file is shown."""
        times = self._survey.timing.times
        return place if times is None else round(times[place] * (self.fps or STILLS_FPS))

    def _decode_next(self, wanted: int) -> VideoFrame:
        with told_as_ffmpegs_damage(f"{self._path.name} cannot be decoded at frame {wanted}: {_ADVICE}"):
            frame = next(self._frames)
        self._next += 1
        return frame

    def _orientation_of(self, frame: VideoFrame) -> Orientation:
        matrix = _side_data(frame, SideDataType.DISPLAYMATRIX)
        return self._tagged_turn if matrix is None else from_matrix(np.frombuffer(matrix, np.int32).tolist())

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        return container.decode(stream)

    def _stored(self, frame: VideoFrame) -> np.ndarray:
        return rgb_pixels(frame)

    def _pixels(self, frame: VideoFrame, index: int) -> np.ndarray:
        """RGB [H,W,3] of a decoded frame, upright."""
        with told_as_ffmpegs_damage(f"{self._path.name} cannot be decoded at frame {index}: {_ADVICE}"):
            pixels = self._orientation_of(frame)(self._stored(frame))
        if pixels.shape[:2] != (self.height, self.width):
            raise self._other_size(index, pixels.shape[1], pixels.shape[0])
        return pixels

    def _other_size(self, index: int, width: int, height: int) -> ValueError:
        return ValueError(
            f"{self._path.name} changes size from {self.width}x{self.height} to {width}x{height} at frame {index}: "
            "export it at one size, or cut it there."
        )


def _open(path: Path) -> tuple[InputContainer, VideoStream]:
    # Read first, too: FFmpeg's own numbers do not tell a file that may not be read from a damaged one.
    check_form(path, read_head(path))
    try:
        with told_as_ffmpegs_damage(f"{path.name} cannot be read as a video or an image: {_ADVICE}"):
            # Absolute: FFmpeg takes what stands before a colon for a protocol.
            container = av.open(path.absolute(), metadata_errors="replace")
    except ValueError:
        check_name(path)
        raise
    try:
        return container, _shot_stream(container, path)
    except ValueError:
        container.close()
        raise


def _shot_stream(container: InputContainer, path: Path) -> VideoStream:
    """The stream that players show; ValueError where there is none that can be decoded."""
    if not container.streams.video:
        raise ValueError(f"{path.name} holds no pictures: it is no video, or the file is truncated.")
    pictures = [stream for stream in container.streams.video if not stream.disposition & _NO_SHOT]
    if not pictures:
        raise ValueError(f"{path.name} holds no moving pictures, only a cover or a thumbnail: give a video.")
    stream = next((stream for stream in pictures if stream.disposition & Disposition.default), pictures[0])
    codec = stream.codec_context
    if codec is None:
        check_name(path)
        raise ValueError(
            f"{path.name} is coded in a way that this FFmpeg does not know, which is not supported: transcode it to "
            "ProRes 4444, or to an EXR sequence."
        )
    check_fits(codec.width * codec.height * _BYTES, f"The {codec.width}x{codec.height} pixels of {path.name}")
    return stream


def _tagged_turn(stream: VideoStream) -> Orientation:
    """How the tag "rotate" of old files wants pictures turned, by degrees clockwise."""
    try:
        return turned_clockwise(float(tag_of(stream.metadata, "rotate") or 0))
    except (ValueError, OverflowError):  # no number, or none that is finite
        return Orientation()


def _hdr_of(frame: VideoFrame) -> HdrMetadata | None:
    mastering = _side_data(frame, SideDataType.MASTERING_DISPLAY_METADATA)
    return hdr_metadata(mastering, _side_data(frame, SideDataType.CONTENT_LIGHT_LEVEL))


def _side_data(frame: VideoFrame, kind: SideDataType) -> bytes | None:
    data: Any = frame.side_data  # PyAV's own types know of one kind only
    found = data.get(kind)
    return None if found is None else bytes(found)


@contextmanager
def told_as_ffmpegs_damage(sentence: str) -> Iterator[None]:
    """`told_as_damage`, with FFmpeg's errors: some are OSErrors or MemoryErrors, by numbers that a damaged file brings
    about and not the system."""
    with told_as_damage(sentence):
        try:
            yield
        except av.FFmpegError as error:
            raise ValueError(sentence) from error


def _reel(container: InputContainer) -> dict[str, str]:
    """The reel that a track of timecode names (QuickTime)."""
    names = (stream.metadata.get("reel_name") for stream in container.streams)
    name = next(filter(None, names), None)
    return {} if name is None else {"reel_name": name}


def _timecode(container: InputContainer) -> str | None:
    """The file's timecode: a track of its own (QuickTime), or a tag of the picture or of the file (Matroska, MXF)."""
    stated = (tag_of(one.metadata, "timecode") for one in (*container.streams, container))
    return next((timecode for timecode in stated if timecode is not None), None)


def tag_of(tags: Mapping[str, str], name: str) -> str | None:
    """The tag of a name in lower case, however the file writes it; None where it has none."""
    return next((value for key, value in tags.items() if key.lower() == name), None)
