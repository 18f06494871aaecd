"""Videos stand as their metadata says they are seen, and the shot is the stream that players show."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from video_files import assert_shown, decoded, rgb, scene, turn, write_video

from rem_engine.media import open_shot

KEEP = None
# {a b, c d} of a display matrix, and Pillow's word for what it does; Pillow turns counter-clockwise.
MATRICES = {
    "as stored": ((1, 0, 0, 1), KEEP),
    "mirrored left to right": ((-1, 0, 0, 1), Image.Transpose.FLIP_LEFT_RIGHT),
    "mirrored top to bottom": ((1, 0, 0, -1), Image.Transpose.FLIP_TOP_BOTTOM),
    "half a turn": ((-1, 0, 0, -1), Image.Transpose.ROTATE_180),
    "a quarter clockwise": ((0, 1, -1, 0), Image.Transpose.ROTATE_270),
    "a quarter counter-clockwise": ((0, -1, 1, 0), Image.Transpose.ROTATE_90),
    "transposed": ((0, 1, 1, 0), Image.Transpose.TRANSPOSE),
    "transposed the other way": ((0, -1, -1, 0), Image.Transpose.TRANSVERSE),
}


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize(("height", "width"), [(48, 64), (35, 33)])
def test_a_display_matrix_turns_and_mirrors(tmp_path: Path, kind: str, height: int, width: int) -> None:
    matrix, operation = MATRICES[kind]
    path = turn(write_video(tmp_path / "a.mp4", scene(3, height, width), pix_fmt="yuv444p"), *matrix)
    stored = [Image.fromarray(frame) for frame in rgb(path)]
    seen = [np.array(frame if operation is KEEP else frame.transpose(operation)) for frame in stored]
    with open_shot(path) as shot:
        assert (shot.height, shot.width) == seen[0].shape[:2]
        assert_shown(shot.read(0, 3), seen)


@pytest.mark.parametrize(("kind", "aspect"), [("half a turn", Fraction(4, 3)), ("transposed", Fraction(3, 4))])
def test_the_shape_of_pixels_turns_along(tmp_path: Path, kind: str, aspect: Fraction) -> None:
    path = turn(write_video(tmp_path / "a.mp4", scene(2), aspect=Fraction(4, 3)), *MATRICES[kind][0])
    with open_shot(path) as shot:
        assert shot.pixel_aspect == shot.info.pixel_aspect == aspect


@pytest.mark.parametrize(("tag", "operation"), [("90", Image.Transpose.ROTATE_270), ("nonsense", KEEP)])
def test_the_tag_rotate_of_old_files_counts_clockwise(
    tmp_path: Path, tag: str, operation: Image.Transpose | None
) -> None:
    path = write_video(tmp_path / "a.mkv", scene(2), tags={"rotate": tag})
    with av.open(path) as container:
        assert {name.lower() for name in container.streams.video[0].metadata} >= {"rotate"}
    stored = Image.fromarray(rgb(path)[1])
    with open_shot(path) as shot:
        assert_shown(shot.read(1, 2)[0], stored if operation is KEEP else stored.transpose(operation))


def two_streams(path: Path, first: np.ndarray, second: np.ndarray, dispositions: tuple[int, int]) -> Path:
    with av.open(path, "w") as container:
        streams = [container.add_stream("libx264", rate=24) for _ in range(2)]
        for stream, frames, disposition in zip(streams, (first, second), dispositions, strict=True):
            stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
            stream.disposition = disposition
        for stream, frames in zip(streams, (first, second), strict=True):
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
    return path


DEFAULT, COVER = av.stream.Disposition.default, av.stream.Disposition.attached_pic


@pytest.mark.parametrize(
    ("dispositions", "shown"),
    [((0, DEFAULT), 1), ((DEFAULT, 0), 0), ((DEFAULT, DEFAULT), 0), ((0, 0), 0)],
)
def test_the_stream_flagged_default_is_the_shot(tmp_path: Path, dispositions: tuple[int, int], shown: int) -> None:
    path = two_streams(tmp_path / "a.mkv", scene(1, 64, 64), scene(5, 48, 64), dispositions)
    with open_shot(path) as shot:
        assert (shot.frame_count, shot.height) == ((1, 64), (5, 48))[shown]
        assert_shown(shot.read(0, 1)[0], rgb(path, shown)[0])


def with_cover(path: Path, moving: bool) -> Path:
    """Sound or a video with a cover in front of it, as music players and phones write them."""
    with av.open(path, "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = COVER
        stream = container.add_stream("libx264" if moving else "aac", rate=24 if moving else 48000)
        if moving:
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        container.mux(cover.encode(av.VideoFrame.from_ndarray(scene(1, 64, 64)[0], format="rgb24")))
        container.mux(cover.encode())
        if moving:
            for frame in scene(4):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        else:
            silence = av.AudioFrame.from_ndarray(np.zeros((2, 4096), np.float32), format="fltp", layout="stereo")
            silence.sample_rate = 48000
            container.mux(stream.encode(silence))
        container.mux(stream.encode())
    return path


def test_a_cover_is_never_the_shot(tmp_path: Path) -> None:
    with open_shot(with_cover(tmp_path / "a.mp4", moving=True)) as shot:
        assert (shot.frame_count, shot.height, shot.width) == (4, 48, 64)
    with pytest.raises(ValueError, match=r"song\.mp4 holds no moving pictures, only a cover or a thumbnail"):
        open_shot(with_cover(tmp_path / "song.mp4", moving=False))


# ---- streams that change


def joined(path: Path, *pieces: Path) -> Path:
    """Transport streams one after the other, as receivers record them."""
    path.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    return path


def test_a_stream_that_changes_size_is_refused_before_anything_is_made_of_it(tmp_path: Path) -> None:
    first = write_video(tmp_path / "1.ts", scene(5), options={"bf": "0"})
    second = write_video(tmp_path / "2.ts", scene(5, 96, 128), options={"bf": "0"})
    path = joined(tmp_path / "a.ts", first, second)
    sizes = [(frame.width, frame.height) for frame in decoded(path)]
    assert sizes[0] == (64, 48) and sizes[-1] == (128, 96)
    sentence = rf"a\.ts changes size from 64x48 to 128x96 at frame {sizes.index((128, 96))}: export it at one size"
    with pytest.raises(ValueError, match=sentence):
        open_shot(path).frame_count  # noqa: B018


def test_two_recordings_in_one_stream_go_on_at_their_rate(tmp_path: Path) -> None:
    pieces = [write_video(tmp_path / f"{number}.ts", scene(12), options={"bf": "0"}) for number in (1, 2)]
    with open_shot(joined(tmp_path / "a.ts", *pieces)) as shot:
        assert (shot.frame_count, shot.fps, shot.info.times) == (len(decoded(tmp_path / "a.ts")), 24, None)
        assert any("no time stamp that fits" in note for note in shot.info.notes)


def test_a_start_within_an_open_group_of_pictures_is_read_as_it_is_shown(tmp_path: Path) -> None:
    options = {"bf": "2", "g": "6", "flags": "-cgop"}
    path = write_video(tmp_path / "a.ts", scene(24), "mpeg2video", rate=25, options=options)
    with av.open(path) as container:
        keys = [packet.pos for packet in container.demux(video=0) if packet.size and packet.is_keyframe]
    cut = tmp_path / "cut.ts"
    cut.write_bytes(path.read_bytes()[keys[1] // 188 * 188 :])
    shown = rgb(cut)
    with open_shot(cut) as shot:
        assert shot.frame_count == len(shown) and shot.fps == 25
        assert_shown(shot.read(0, len(shown)), shown)


def test_data_beside_the_picture_is_left_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.mov"
    with av.open(path, "w") as container:
        depth = container.add_stream("libx264", rate=24)
        stream = container.add_stream("libx264", rate=24)
        for one, frames in ((depth, scene(4, 32, 32)), (stream, scene(4))):
            one.height, one.width, one.pix_fmt = *frames.shape[1:3], "yuv420p"
        depth.disposition, stream.disposition = av.stream.Disposition(0), DEFAULT
        stream.metadata["timecode"] = "01:00:00:00"  # a track of its own in QuickTime
        for one, frames in ((depth, scene(4, 32, 32)), (stream, scene(4))):
            for frame in frames:
                container.mux(one.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(one.encode())
    with av.open(path) as container:
        assert [one.type for one in container.streams] == ["video", "video", "data"]
    with open_shot(path) as shot:
        assert (shot.frame_count, shot.height, shot.width, shot.timecode) == (4, 48, 64, "01:00:00:00")
