"""Smoothing over time, against rendered shots whose mattes and motion are known exactly."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from moving_scenes import Scene, Surface, render, segmented

from rem_engine.matte.frames import Frame
from rem_engine.matte.temporal import FlowSmoother, flicker
from rem_engine.metrics import region_similarity
from trainer.synth.backgrounds import procedural
from trainer.synth.scene import RenderedShot, Thing
from trainer.synth.scene import render as draw

GROUND = Surface((0, 0), (-3.0, 1.0), seed=1, colour=(0.40, 0.45, 0.40))
BOX = Surface((80, 75), (18.0, 5.0), 0.06, (50, 35), seed=2, colour=(0.55, 0.40, 0.40))


@pytest.fixture(scope="module")
def fast() -> Scene:
    """A turning box that crosses the frame at 19 pixels a frame, before a ground that drifts the other way."""
    return render(GROUND, [BOX], 10, 216, 384, grain=0.01)


def frames_of(scene: Scene | RenderedShot, masks: np.ndarray) -> list[Frame]:
    """Masks [T,H,W] with their plates."""
    plates = scene.plates if isinstance(scene, Scene) else scene.frames
    return [
        Frame(index, torch.from_numpy(mask)[None], torch.from_numpy(plate))
        for index, (mask, plate) in enumerate(zip(masks, plates))
    ]


def smoothed(frames: list[Frame], radius: int = 2, cuts: tuple[int, ...] = ()) -> np.ndarray:
    return np.stack([frame.soft[0].numpy() for frame in FlowSmoother(radius).stream(frames, cuts)])


def similarity(masks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return region_similarity(masks > 0.5, truth > 0.5)


def test_an_exact_matte_that_moves_fast_is_not_smeared(fast: Scene) -> None:
    result = smoothed(frames_of(fast, fast.mattes[0]))
    assert similarity(result, fast.mattes[0]).mean() > 0.99
    assert np.abs(result - fast.mattes[0]).mean() < 0.001


@pytest.mark.slow
@pytest.mark.parametrize("speed", [(10.0, 2.0), (25.0, 3.0)], ids=["10 pixels a frame", "25 pixels a frame"])
def test_noisy_masks_flicker_half_as_much_and_stay_as_near_the_truth(speed: tuple[float, float]) -> None:
    scene = render(GROUND, [replace(BOX, speed=speed)], 10, 216, 384, grain=0.01)
    masks = segmented(scene, 0, wobble=1.5, noise=0.08)
    result = smoothed(frames_of(scene, masks))
    before, after = (flicker(values, scene.flow, scene.visible) for values in (masks, result))
    assert after < 0.5 * before
    truth = scene.mattes[0]
    assert similarity(result, truth).mean() > similarity(masks, truth).mean() - 0.01
    assert np.abs(result - truth).mean() < np.abs(masks - truth).mean()


def test_an_outline_that_wobbles_flickers_half_as_much(fast: Scene) -> None:
    masks = segmented(fast, 0, wobble=2.0, noise=0.0)
    result = smoothed(frames_of(fast, masks), radius=3)
    assert flicker(result, fast.flow, fast.visible) < 0.5 * flicker(masks, fast.flow, fast.visible)
    assert similarity(result, fast.mattes[0]).mean() > similarity(masks, fast.mattes[0]).mean()


@pytest.mark.slow
def test_what_passes_behind_something_is_not_drawn_over_it() -> None:
    pillar = Surface((190, 108), half=(25, 300), seed=3, colour=(0.25, 0.30, 0.50))
    scene = render(GROUND, [BOX, pillar], 10, 216, 384, grain=0.01)
    truth = scene.mattes[0]
    result = smoothed(frames_of(scene, truth))
    hidden = scene.mattes[1] > 0.99
    assert np.abs(result - truth)[hidden].mean() < 0.002
    wrong = np.count_nonzero((result > 0.5) != (truth > 0.5), axis=(1, 2))
    area = np.count_nonzero(truth[0] > 0.5)
    assert wrong.mean() < 0.012 * area
    assert wrong.max() < 0.035 * area


@pytest.mark.parametrize("shown", [(5, 10), (0, 5)], ids=["appears", "disappears"])
def test_a_mask_neither_begins_early_nor_stays_on(shown: tuple[int, int]) -> None:
    scene = render(GROUND, [replace(BOX, start=(190, 108), speed=(2.0, 0.0), shown=shown)], 10, 216, 384, grain=0.01)
    truth = scene.mattes[0]
    result = smoothed(frames_of(scene, truth))
    gone = [t for t in range(10) if not shown[0] <= t < shown[1]]
    solid = truth[shown[0]] > 0.5
    assert max(result[t][solid].mean() for t in gone) < 0.03
    assert similarity(result[slice(*shown)], truth[slice(*shown)]).min() > 0.98


@pytest.mark.parametrize("kind", ["smoke", "fire"])
def test_a_process_keeps_its_shape_while_noise_goes(kind: str) -> None:
    rng = np.random.default_rng(3)
    shot = draw([Thing(kind, None, (0.5, 0.5), 0.3, 11)], procedural(rng, 9, 180, 320))
    truth = shot.mattes[0]
    noisy = truth + 0.1 * rng.standard_normal(truth.shape, np.float32)
    there = truth > 0.02

    def error(masks: np.ndarray) -> float:
        return float(np.abs(masks - truth)[there].mean())

    means = np.stack([truth[max(t - 2, 0) : t + 3].mean(axis=0) for t in range(9)])
    assert error(smoothed(frames_of(shot, truth))) < 0.5 * error(means)
    assert error(smoothed(frames_of(shot, noisy))) < 0.7 * error(noisy)


def test_where_nothing_moves_the_mask_is_the_plain_mean() -> None:
    scene = render(replace(GROUND, speed=(0.0, 0.0)), [replace(BOX, speed=(0.0, 0.0), turn=0.0)], 7, 96, 128)
    masks = np.random.default_rng(0).random((7, 96, 128), np.float32)
    result = smoothed(frames_of(scene, masks))
    means = [masks[max(t - 2, 0) : t + 3].mean(axis=0) for t in range(7)]
    np.testing.assert_allclose(result, means, atol=1e-5)


@pytest.mark.parametrize("known", ["all", "as they come"])
def test_nothing_crosses_a_cut(known: str) -> None:
    """One still picture throughout, so that only the cut keeps the takes apart."""
    plates = torch.full((96, 128, 3), 0.5)
    frames = [Frame(t, torch.full((1, 96, 128), float(t >= 4)), plates) for t in range(9)]
    seen: list[int] = []

    def come() -> Iterator[Frame]:
        for frame in frames:
            if frame.index == 4:
                seen.append(4)
            yield frame

    stream = FlowSmoother(2).stream(come(), (4,) if known == "all" else lambda: seen)
    for before, after in zip(frames, stream, strict=True):
        assert torch.equal(before.soft, after.soft)


@pytest.mark.slow
def test_a_run_taken_up_again_gives_the_same_masks(fast: Scene) -> None:
    frames = frames_of(fast, segmented(fast, 0, wobble=1.5, noise=0.1))
    for radius in (1, 2):
        whole = smoothed(frames, radius)
        np.testing.assert_array_equal(smoothed(frames[5 - radius :], radius)[radius:], whole[5:])


def test_frames_come_in_order_and_only_those_of_the_span_are_held(fast: Scene) -> None:
    read: list[weakref.ref[Frame]] = []

    def come() -> Iterator[Frame]:
        for index in range(10):
            plate, soft = torch.from_numpy(fast.plates[index]), torch.from_numpy(fast.mattes[:, index])
            frame = Frame(index, soft, plate)
            read.append(weakref.ref(frame))
            yield frame
            del frame

    for place, frame in enumerate(FlowSmoother(2).stream(come())):
        assert frame.index == place
        assert len(read) == min(place + 3, 10)
        assert sum(known() is not None for known in read) <= 5 + 1  # the one just read is in the reader's hand too


def test_layers_are_smoothed_alike_and_keep_their_type(fast: Scene) -> None:
    masks = segmented(fast, 0, wobble=1.5, noise=0.1)
    layers = np.stack([1.0 - masks, masks], axis=1)
    frames = [
        Frame(t, torch.from_numpy(soft), torch.from_numpy(plate))
        for t, (soft, plate) in enumerate(zip(layers, fast.plates))
    ]
    results = [frame.soft for frame in FlowSmoother(1).stream(frames)]
    assert results[0].dtype == torch.float32
    np.testing.assert_allclose(np.stack(results)[:, 1], smoothed(frames_of(fast, masks), 1), atol=1e-6)
    np.testing.assert_allclose(np.stack(results).sum(axis=1), 1.0, atol=1e-5)


def test_flicker_is_the_change_along_the_motion() -> None:
    ramp = np.tile(np.linspace(0.0, 1.0, 41, dtype=np.float32), (16, 1))
    moved = np.stack([np.roll(ramp, 4 * t, axis=1) + 0.03 * t for t in range(3)])
    flow = np.zeros((2, 16, 41, 2), np.float32)
    flow[..., 0] = 4.0
    assert flicker(moved, flow) == pytest.approx(0.03, abs=1e-6)
    assert flicker(moved, np.zeros_like(flow), np.broadcast_to(np.arange(41) > 10, (2, 16, 41))) == pytest.approx(
        0.07, abs=1e-6
    )


@pytest.mark.parametrize("size", [(16, 16), (8, 11), (17, 300), (16, 4096), (2000, 20)], ids=str)
def test_frames_of_any_size_are_taken(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    plate = torch.from_numpy(rng.random((*size, 3), np.float32))
    frames = [Frame(t, torch.full((1, *size), 0.25 * t), plate) for t in range(3)]
    result = smoothed(frames, 1)
    np.testing.assert_allclose(result[1], 0.25, atol=1e-5)


def test_what_cannot_be_smoothed_is_told_in_a_sentence(fast: Scene) -> None:
    with pytest.raises(ValueError, match="over 0 frames to either side is not possible; 1 or more"):
        FlowSmoother(0)
    frames = frames_of(fast, fast.mattes[0])
    for wrong, sentence in [
        (replace(frames[1], plate=None), "Frame 1 comes without its plate"),
        (replace(frames[1], plate=torch.zeros(50, 60, 3)), r"frame 1 are 384x216 and its plate has shape \[50"),
        (replace(frames[1], soft=frames[1].soft.repeat(2, 1, 1)), "as many layers are expected"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            list(FlowSmoother(1).stream([frames[0], wrong]))
    with pytest.raises(ValueError, match=r"\[10, 216, 384\] and motion of shape \[3, 216, 384, 2\] do not belong"):
        flicker(fast.mattes[0], fast.flow[:3])
