"""The matte stage over a shot: what its settings promise, as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from rem_engine import matte
from rem_engine.matte import Frame, MatteSettings, matte_frames
from rem_engine.matte.settings import NEUTRAL

LAYERS, HEIGHT, WIDTH = 2, 48, 64


def shot(count: int) -> list[Frame]:
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    frames = []
    for index in range(count):
        disk = ((14 - torch.hypot(y - 24.0, x - 20.0 - index)) / 8 + 0.5).clamp(0.0, 1.0)
        soft = torch.stack([disk, torch.rand(HEIGHT, WIDTH, generator=generator) * 1.2 - 0.1])
        plate = 0.2 + 0.6 * disk[..., None] * torch.tensor([1.0, 0.5, 0.2])
        frames.append(Frame(index, soft, plate))
    return frames


def run(frames: list[Frame], settings: MatteSettings, **options: object) -> list[Frame]:
    return list(matte_frames(frames, settings, **options))


def test_neutral_settings_only_clip() -> None:
    frames = shot(2)
    for frame, result in zip(frames, run(frames, NEUTRAL), strict=True):
        assert result.index == frame.index and result.foreground is None
        assert torch.equal(result.alpha, frame.soft.clamp(0.0, 1.0))


def test_neutral_settings_ask_for_no_plate() -> None:
    frame = replace(shot(1)[0], plate=None)
    assert not NEUTRAL.needs_plate
    assert torch.equal(run([frame], NEUTRAL)[0].alpha, frame.soft.clamp(0.0, 1.0))


def test_the_operations_come_in_the_order_that_is_written_down() -> None:
    settings = MatteSettings(
        black=0.1, white=0.9, gamma=1.5, threshold=0.4, knee=0.2, fill_holes=9, remove_islands=40,
        refine=6, grow=2, feather=3.0, invert=True,
    )  # fmt: skip
    frame = shot(1)[0]
    expected = matte.levels(frame.soft, 0.1, 0.9, 1.5)
    expected = matte.threshold(expected, 0.4, 0.2)
    expected = matte.remove_islands(matte.fill_holes(expected, 9), 40)
    expected = matte.refine(expected, frame.plate, 6, settings.refine_detail)
    expected = 1.0 - matte.feather(matte.grow(expected, 2), 3.0)
    assert torch.equal(run([frame], settings)[0].alpha, expected)


def test_frames_are_read_one_at_a_time() -> None:
    frames = shot(5)
    read = []

    def reading() -> Iterator[Frame]:
        for frame in frames:
            read.append(frame.index)
            yield frame

    for result in matte_frames(reading(), MatteSettings()):
        assert read[-1] == result.index


def test_a_resumed_run_equals_an_uninterrupted_one() -> None:
    frames = shot(4)
    settings = MatteSettings(remove_islands=20)
    whole, resumed = run(frames, settings), run(frames[2:], settings)
    assert [matte.index for matte in resumed] == [2, 3]
    assert all(torch.equal(one.alpha, other.alpha) for one, other in zip(whole[2:], resumed))


def test_a_resumed_run_with_smoothing_is_fed_that_many_frames_before() -> None:
    frames = shot(8)
    settings = MatteSettings(smooth=2)
    whole, resumed = run(frames, settings), run(frames[2:], settings)
    assert [matte.index for matte in whole] == list(range(8))
    assert all(torch.equal(one.alpha, other.alpha) for one, other in zip(whole[4:], resumed[2:]))


def test_masks_and_plates_that_cannot_be_used_are_refused() -> None:
    frame = shot(1)[0]
    with pytest.raises(ValueError, match="mask is 64x48 pixels and the plate 60x48"):
        run([replace(frame, plate=frame.plate[:, :60])], MatteSettings())
    with pytest.raises(ValueError, match="Frame 0 comes without its plate"):
        run([replace(frame, plate=None)], MatteSettings())
    with pytest.raises(ValueError, match=r"Masks of shape \[48, 64\] cannot be used; \[L,H,W\]"):
        run([replace(frame, soft=frame.soft[0])], MatteSettings())
    holed = frame.soft.clone()
    holed[1, 3, 4] = float("nan")
    with pytest.raises(ValueError, match="mask of frame 0 holds values that are not finite"):
        run([replace(frame, soft=holed)], MatteSettings())
    with pytest.raises(ValueError, match="plate of frame 0 holds values that are not finite"):
        run([replace(frame, plate=frame.plate / 0.0)], MatteSettings())


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("black", 1.0, "white level"),
        ("white", float("nan"), "white level is nan"),
        ("gamma", 0.0, "gamma of 0 is not possible; give more than 0"),
        ("threshold", 1.0, "threshold of 1 is not possible; give more than 0 and less than 1"),
        ("knee", 2.0, "knee of 2 is not possible; give 0 to 1"),
        ("fill_holes", -1, "filled area of -1 pixels is not possible; give 0 to 10000000 pixels"),
        ("remove_islands", -1, "removed area of -1 pixels"),
        ("feather", -0.5, "feather of -0.5"),
        ("refine", -3, "refinement radius of -3 pixels"),
        ("refine_detail", 0.0, "refinement detail of 0"),
        ("smooth", -1, "smoothing radius of -1 frames"),
    ],
)
def test_settings_out_of_range_are_refused(field: str, value: float, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        MatteSettings(**{field: value})
