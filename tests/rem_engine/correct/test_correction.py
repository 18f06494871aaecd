"""A shot follows the masks of a few of its frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from moving_scenes import Scene, Surface, render

from rem_engine.correct import ShotMotion, corrected, correction, network, suggest
from rem_engine.correct.carried import sources
from rem_engine.correct.edges import with_edges_of
from rem_engine.correct.network import TakeNetwork, network_size
from rem_engine.correct.parts import Part, enlarged, part_around, whole_part
from rem_engine.correct.shot_motion import MOST_BYTES, motion_size
from rem_engine.frames import ArrayFrames
from rem_engine.matte.motion import Picture, chained
from rem_engine.metrics import region_similarity

HEIGHT, WIDTH, FRAMES, CUT = 64, 96, 44, 40


@pytest.fixture(scope="module")
def scene() -> Scene:
    """A box that moves behind another one."""
    ground = Surface((48.0, 32.0), (0.5, 0.0), seed=1, colour=(0.4, 0.4, 0.45))
    boxes = [
        Surface((24.0, 30.0), (0.8, 0.2), 0.01, half=(12.0, 10.0), seed=2, colour=(0.75, 0.4, 0.3)),
        Surface((60.0, 20.0), (-0.3, 0.1), half=(5.0, 14.0), seed=3, colour=(0.2, 0.6, 0.3)),
    ]
    return render(ground, boxes, CUT, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def plates(scene: Scene) -> np.ndarray:
    """The scene, and after a cut four frames of something else."""
    other = render(Surface((48.0, 32.0), (-1.0, 0.0), seed=9, colour=(0.7, 0.7, 0.2)), [], FRAMES - CUT, HEIGHT, WIDTH)
    return np.concatenate([scene.plates, other.plates])


@pytest.fixture(scope="module")
def motion(plates: np.ndarray) -> Iterator[ShotMotion]:
    with ShotMotion.of(ArrayFrames(plates), [CUT]) as found:
        yield found


@pytest.fixture(scope="module")
def base() -> torch.Tensor:
    """What a model gave that saw something in the corner."""
    masks = torch.zeros(FRAMES, HEIGHT, WIDTH)
    masks[:, :10, :14] = 0.7
    return masks


def key_of(scene: Scene, index: int) -> torch.Tensor:
    return torch.from_numpy(scene.mattes[0, index])


def test_a_single_mask_brings_the_right_thing_to_all_frames_of_its_take(
    scene: Scene, motion: ShotMotion, base: torch.Tensor
) -> None:
    frames = [*corrected(base.__getitem__, {20: key_of(scene, 20)}, motion)]
    assert [frame.index for frame in frames] == [*range(FRAMES)]
    soft = torch.stack([frame.soft for frame in frames[:CUT]]).numpy()
    assert soft.min() >= 0.0 and soft.max() <= 1.0
    j = region_similarity(soft > 0.5, scene.mattes[0] > 0.5)
    assert j[14:27].mean() > 0.85
    assert np.delete(j, 20).mean() > 0.75  # it hides, and comes out again
    assert soft[:, :10, :14].mean() < 0.1  # where the model was wrong


def test_given_frames_come_to_the_bit_and_takes_without_any_stay_so(
    scene: Scene, motion: ShotMotion, base: torch.Tensor
) -> None:
    keys = {3: key_of(scene, 3), 30: key_of(scene, 30) * 0.5}
    frames = [*corrected(base.__getitem__, keys, motion)]
    assert all(torch.equal(frames[index].soft, mask) for index, mask in keys.items())
    assert all(torch.equal(frame.soft, base[frame.index]) for frame in frames[CUT:])
    assert [frame.is_changed for frame in frames] == [True] * CUT + [False] * (FRAMES - CUT)


@pytest.mark.slow
def test_the_same_corrections_give_the_same_masks(scene: Scene, motion: ShotMotion, base: torch.Tensor) -> None:
    state = torch.get_rng_state()
    once, twice = (
        [frame.soft for frame in corrected(base.__getitem__, {8: key_of(scene, 8)}, motion)] for _ in range(2)
    )
    assert all(torch.equal(one, other) for one, other in zip(once, twice, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_corrections_are_the_same_where_a_host_has_turned_gradients_off(
    scene: Scene, motion: ShotMotion, base: torch.Tensor
) -> None:
    key = {10: key_of(scene, 10)}
    told = next(frame.soft for frame in corrected(base.__getitem__, key, motion) if frame.index == 3)
    with torch.inference_mode():
        found = next(frame.soft for frame in corrected(base.__getitem__, key, motion) if frame.index == 3)
    torch.testing.assert_close(found, told, rtol=0.0, atol=0.0)


def test_before_it_has_learnt_the_network_gives_the_models_mask(motion: ShotMotion) -> None:
    ramp = np.linspace(0.0, 1.0, WIDTH, dtype=np.float32)[None].repeat(HEIGHT, axis=0)
    drawn = TakeNetwork(network_size(motion.size)).mask(motion.picture(3), ramp)
    np.testing.assert_allclose(drawn, ramp.clip(0.03, 0.97), atol=0.01)


def test_work_on_a_part_of_large_frames_gives_what_work_on_all_of_them_does(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames twice as large as those on which motion is found: elsewhere masks are 0 exactly."""
    size, count = (192, 1296), 3
    plates = np.stack([cv2.resize(plate, size[::-1]) for plate in scene.plates[:count]])
    mask = np.zeros(size, np.float32)
    mask[30:90, 200:300] = cv2.GaussianBlur(np.pad(np.ones((40, 80), np.float32), 10), (0, 0), 3)
    seen: list[Part] = []

    def noted(there: np.ndarray, size: tuple[int, int]) -> Part | None:
        part = part_around(there, size)
        if part is not None:
            seen.append(part)
        return part

    nothing = torch.zeros(count, *size)
    with ShotMotion.of(ArrayFrames(plates)) as found:
        assert found.size != size
        keys = {place: torch.from_numpy(mask) for place in (0, 2)}
        monkeypatch.setattr(network, "_STEPS", 2)
        monkeypatch.setattr(correction, "part_around", noted)
        parts = torch.stack([frame.soft for frame in corrected(nothing.__getitem__, keys, found)])
        monkeypatch.setattr(correction, "part_around", lambda there, size: whole_part(size))
        whole = torch.stack([frame.soft for frame in corrected(nothing.__getitem__, keys, found)])
    torch.testing.assert_close(parts, whole, rtol=0.0, atol=1e-5)
    assert min((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in seen) < 0.2 * mask.size


@pytest.mark.parametrize("size", [(33, 47), (40, 120), (81, 97)])
def test_a_part_is_enlarged_as_the_whole_is(size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random((20, 30, 2), np.float32)
    whole = cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR)
    for part in (
        (slice(0, 9), slice(0, 7)),
        (slice(12, 20), slice(20, 31)),
        (slice(size[0] - 5, size[0]), slice(3, 9)),
    ):
        np.testing.assert_allclose(enlarged(values, size, part), whole[part], atol=2e-6)


def test_the_part_around_something_holds_it() -> None:
    there = np.zeros((20, 30), bool)
    assert part_around(there, (60, 100)) is None
    there[5:9, 28] = True
    rows, columns = part_around(there, (60, 100), margin=0)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (15, 27, 93, 97)
    rows, columns = part_around(there, (60, 100), margin=3)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (6, 36, 83, 100)


def square_on_noise(shift: int) -> tuple[Picture, np.ndarray]:
    plate = np.random.default_rng(0).normal(0.3, 0.01, (60, 80, 3)).astype(np.float32)
    plate[20:40, 30 + shift : 54 + shift] += 0.3
    mask = np.zeros((60, 80), np.float32)
    mask[20:40, 30:54] = 1.0
    return Picture.of(plate), mask


@pytest.mark.parametrize("shift", [-2, 0, 2])
def test_edges_of_a_hard_mask_go_where_the_plate_has_some_and_small_holes_are_filled(shift: int) -> None:
    picture, mask = square_on_noise(shift)
    truth = np.roll(mask, shift, axis=1)
    mask[30:32, 40:42] = 0.0
    found = with_edges_of(picture, mask)
    assert region_similarity(found[None] > 0.5, truth[None] > 0.5)[0] > 0.98
    assert region_similarity(mask[None] > 0.5, truth[None] > 0.5)[0] < 0.995


def test_masks_that_are_soft_empty_or_of_large_things_are_carried_as_they_were_given() -> None:
    picture, mask = square_on_noise(2)
    for one in (mask * 0.9, np.zeros_like(mask), np.ones_like(mask)):
        np.testing.assert_array_equal(with_edges_of(picture, one), one)
    large = np.zeros((400, 400), np.float32)
    large[50:350, 50:350] = 1.0
    assert with_edges_of(Picture.of(np.zeros((400, 400, 3), np.float32)), large) is large


def test_wires_and_slits_thinner_than_what_hands_are_off_by_stay_as_they_were_given() -> None:
    plate = np.full((60, 60, 3), 0.2, np.float32)
    mask = np.zeros((60, 60), np.float32)
    mask[4:6, 10:50] = 1.0
    mask[20:50, 10:50] = 1.0
    mask[33:36, 20:40] = 0.0
    plate[mask > 0] = 0.8
    found = with_edges_of(Picture.of(plate), mask)
    np.testing.assert_array_equal(found[:10], mask[:10])
    np.testing.assert_array_equal(found[32:37, 20:40], mask[32:37, 20:40])


def test_an_empty_mask_says_that_nothing_is_there(motion: ShotMotion, base: torch.Tensor) -> None:
    frames = [*corrected(base.__getitem__, {20: torch.zeros(HEIGHT, WIDTH)}, motion)]
    assert max(float(frame.soft.max()) for frame in frames[10:30]) < 0.1


@pytest.mark.slow
def test_nothing_is_drawn_where_nothing_may_be(scene: Scene, motion: ShotMotion, base: torch.Tensor) -> None:
    within = torch.ones(HEIGHT, WIDTH)
    within[:, :40] = 0.0
    key = key_of(scene, 5)
    assert key[:, :40].max() == 1.0
    frames = [*corrected(base.__getitem__, {5: key}, motion, within=lambda index: within)]
    assert torch.equal(frames[5].soft, key)
    assert all(frame.soft[:, :40].max() == 0.0 for frame in frames[:CUT] if frame.index != 5)


def test_motion_put_aside_on_the_way_back_is_that_of_the_whole_way(motion: ShotMotion) -> None:
    found = dict(sources(motion, range(CUT), [39]))
    pictures, wanted = [motion.picture(index) for index in range(CUT)], motion.step(38).ahead
    for index in range(37, -1, -1):
        wanted = chained(pictures[index], motion.step(index).ahead, wanted, pictures[39])
        (source,) = found[index]
        assert source.key == 39
        np.testing.assert_array_equal(source.motion.flow, wanted.flow)
        np.testing.assert_array_equal(source.motion.trust, wanted.trust)
    assert found[39] == ()


def test_masks_come_from_the_nearest_given_frames_to_either_side(motion: ShotMotion) -> None:
    near = {index: [source.key for source in found] for index, found in sources(motion, range(CUT), [4, 9, 20])}
    assert [near[index] for index in (0, 4, 6, 9, 15, 25)] == [[4], [], [4, 9], [], [9, 20], [20]]


class Unreadable(ArrayFrames):
    def read(self, start: int, stop: int) -> np.ndarray:
        raise AssertionError("read once more")


def test_motion_is_found_once_and_kept(plates: np.ndarray, motion: ShotMotion, tmp_path: Path) -> None:
    folder = tmp_path / "motion"
    ShotMotion.of(ArrayFrames(plates), [CUT], folder, "a")
    kept = ShotMotion.of(Unreadable(plates), [CUT], folder, "a")
    assert kept.size == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(kept.step(7).ahead.flow, motion.step(7).ahead.flow)
    np.testing.assert_array_equal(kept.picture(7).colours, np.rint(plates[7] * 255))
    with pytest.raises(AssertionError):  # of another shot
        ShotMotion.of(Unreadable(plates), [CUT], folder, "b")
    ShotMotion.of(ArrayFrames(plates), [CUT], folder, "b")
    assert ShotMotion.kept(folder, FRAMES, "b").cuts == (CUT,)
    assert ShotMotion.kept(folder, FRAMES, "a") is None and ShotMotion.kept(folder, FRAMES - 1, "b") is None
    with pytest.raises(AssertionError):  # of other takes
        ShotMotion.of(Unreadable(plates), [CUT - 1], folder, "b")
    ShotMotion.of(ArrayFrames(plates), [CUT], folder, "b")
    damaged = next(folder.glob("*.raw"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(AssertionError):
        ShotMotion.of(Unreadable(plates), [CUT], folder, "b")


@pytest.mark.parametrize("frames", [100, 1000, 20_000])
def test_what_is_kept_has_a_limit(frames: int) -> None:
    height, width = motion_size(1080, 1920, frames)
    assert frames * height * width * 13 <= 1.01 * MOST_BYTES
    assert width / height == pytest.approx(16 / 9, rel=0.03)
    assert (height, width) == (360, 640) or frames > 1000


def test_the_frame_is_suggested_from_which_most_of_the_shot_is_reached(motion: ShotMotion) -> None:
    masks = np.full((FRAMES, HEIGHT, WIDTH), 0.1, np.float32)
    first, second, third = suggest(masks, motion, count=3)
    assert 12 <= first <= 28  # about the middle of the longer take
    assert min(abs(second - first), abs(third - first)) >= 8
    assert first not in (more := suggest(masks, motion, [first], 2))
    assert more == (second, third)
    everything = suggest(masks, motion, count=FRAMES + 5)
    assert len({*everything}) == len(everything) <= FRAMES
    assert any(index >= CUT for index in everything[:6])  # the other take has its turn


def test_a_frame_of_an_unsure_mask_comes_first(plates: np.ndarray) -> None:
    with ShotMotion.of(ArrayFrames(plates[:30])) as still:
        sure = np.zeros((30, HEIGHT, WIDTH), np.float32)
        sure[:, 20:40, 20:40] = 1.0
        unsure = sure.copy()
        unsure[22:, 20:40, 20:40] = 0.5
        assert suggest(unsure, still)[0] > suggest(sure, still)[0]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({}, "give the mask of one"),
        ({FRAMES: torch.zeros(HEIGHT, WIDTH)}, f"frame {FRAMES}, and the shot has frames 0 to {FRAMES - 1}"),
        ({3: torch.zeros(HEIGHT, WIDTH + 1)}, r"frame 3 has shape \[64, 97\]; \[64, 96\]"),
        ({3: torch.full((HEIGHT, WIDTH), 2.0)}, "frame 3 holds values from 2 to 2"),
        ({3: torch.full((HEIGHT, WIDTH), float("nan"))}, "frame 3 holds values"),
    ],
)
def test_what_cannot_be_a_correction_gets_a_sentence(
    keys: dict[int, torch.Tensor], told: str, motion: ShotMotion, base: torch.Tensor
) -> None:
    with pytest.raises(ValueError, match=told):
        next(corrected(base.__getitem__, keys, motion))
