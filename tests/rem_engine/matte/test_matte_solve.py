"""Edges that are solved: what the equations are, what is found of masks, and what comes of things of either kind."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

from rem_engine.matte import Frame, MatteSettings, matte_frames
from rem_engine.matte.solve import blur, grain, guided, resampling
from rem_engine.matte.solve.cells import find_size, to_cells
from rem_engine.matte.solve.decisions import Decisions, Seen
from rem_engine.matte.solve.laplacian import EPSILON, SparseLaplacian, WindowLaplacian
from rem_engine.matte.solve.noise import noise, noisiness, without_noise
from rem_engine.matte.solve.resampling import _areas, averaged, cubic
from rem_engine.matte.solve.solver import EdgeSolver
from rem_engine.matte.solve.upscale import with_means
from rem_engine.pixels import as_16_bits
from rem_engine.segment.resize import masks_to_shot

HEIGHT, WIDTH = 180, 320
CELLS = (36, 64)


def textured(seed: int, colour: tuple[float, float, float]) -> np.ndarray:
    noise = np.random.default_rng(seed).random((HEIGHT // 6, WIDTH // 6, 3)).astype(np.float32)
    return 0.15 * cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) + np.float32(colour)


def plate_of(alpha: np.ndarray) -> np.ndarray:
    grain = np.random.default_rng(9).normal(0.0, 0.006, (HEIGHT, WIDTH, 3))
    ground, body = textured(1, (0.05, 0.4, 0.2)), textured(2, (0.7, 0.2, 0.1))
    return (body * alpha[..., None] + ground * (1.0 - alpha[..., None]) + grain).clip(0.0, 1.0).astype(np.float32)


def disk(radius: float = 52.0, x: float = 150.0) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return (radius + 0.5 - np.hypot(rows - 90.0, columns - x)).clip(0.0, 1.0)


def haze() -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return 0.9 * np.exp(-(((rows - 90.0) / 24.0) ** 2) - ((columns - 160.0) / 36.0) ** 2)


def cells_of(alpha: np.ndarray) -> np.ndarray:
    return cv2.resize(alpha, CELLS[::-1], interpolation=cv2.INTER_AREA)


def erring(cells: np.ndarray, seed: int = 0) -> np.ndarray:
    """Cells as a model gives them: blurred, shifted, not quite 0 and 1, and with grain."""
    moved = cv2.warpAffine(
        cv2.GaussianBlur(cells, (0, 0), 0.8), np.float32([[1, 0, 0.4], [0, 1, -0.3]]), CELLS[::-1], borderMode=1
    )
    return (0.96 * moved + 0.01 + np.random.default_rng(seed).normal(0.0, 0.02, CELLS)).clip(0, 1).astype(np.float32)


def bicubic(cells: np.ndarray) -> np.ndarray:
    return cv2.resize(cells, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).clip(0.0, 1.0)


def solved(cells: np.ndarray, alpha: np.ndarray, edges: str = "auto", **options: bool) -> np.ndarray:
    return EdgeSolver([edges], **options).solve({0: cells}, torch.from_numpy(plate_of(alpha)))[0].numpy()


@pytest.mark.parametrize("cells", [(18, 32), (40, 40), (80, 150)], ids=str)
def test_cells_are_found_in_masks_that_the_engine_scaled_up(cells: tuple[int, int]) -> None:
    model = torch.from_numpy(cv2.GaussianBlur(np.random.default_rng(3).random(cells), (0, 0), 0.7)).float()
    full = as_16_bits(masks_to_shot(model[None, None, None], (HEIGHT, WIDTH))[0, 0].numpy())
    assert find_size(full) == cells
    np.testing.assert_allclose(to_cells(full, cells), model, atol=2e-3 if cells[0] > 60 else 2e-4)


def test_no_cells_are_found_where_there_are_none() -> None:
    assert find_size(disk()) is None
    assert find_size(np.zeros((HEIGHT, WIDTH), np.float32)) is None
    assert find_size(bicubic(cells_of(disk()))) is None


def test_a_laplacian_measures_what_no_linear_function_of_the_colours_explains() -> None:
    rng = np.random.default_rng(4)
    picture, alpha = rng.random((6, 7, 3)).astype(np.float32), rng.random((6, 7)).astype(np.float32)
    least = 0.0
    for row in range(1, 5):
        for column in range(1, 6):
            window = np.s_[row - 1 : row + 2, column - 1 : column + 2]
            colours = np.concatenate([picture[window].reshape(9, 3), np.ones((9, 1))], axis=1)
            held = np.concatenate([EPSILON**0.5 * np.eye(3), np.zeros((3, 1))], axis=1)
            right = np.concatenate([alpha[window].ravel(), np.zeros(3)])
            system = np.concatenate([colours, held])
            least += np.square(system @ np.linalg.lstsq(system, right, rcond=None)[0] - right).sum()
    whole = torch.ones(6, 7, dtype=torch.bool)
    for laplacian in (SparseLaplacian(torch.from_numpy(picture), whole), WindowLaplacian(torch.from_numpy(picture))):
        plane = torch.from_numpy(alpha)[None].to(laplacian.dtype)
        assert float((plane * laplacian(plane)).sum()) == pytest.approx(least, rel=1e-4)
        unit = torch.zeros(1, 6, 7, dtype=laplacian.dtype)
        unit[0, 2, 3] = 1.0
        assert float(laplacian(unit)[0, 2, 3]) == pytest.approx(float(laplacian.diagonal[0, 2, 3]), rel=1e-4)


def test_the_laplacian_is_that_of_the_methods_own_users(pymatting: ModuleType) -> None:
    """pymatting's, row by row, up to the picture's border and where only some pixels are unknown."""
    rng = np.random.default_rng(6)
    picture, plane = textured(7, (0.3, 0.4, 0.5))[:40, :50], rng.random((1, 40, 50))
    for unknown in (rng.random((40, 50)) < 0.2, np.ones((40, 50), bool)):
        theirs = pymatting.cf_laplacian(picture.astype(np.float64), EPSILON, 1, ~unknown)
        expected = np.where(unknown, (theirs @ plane.ravel()).reshape(40, 50), 0.0)
        ours = SparseLaplacian(torch.from_numpy(picture), torch.from_numpy(unknown))
        np.testing.assert_allclose(ours(torch.from_numpy(plane))[0], expected, atol=2e-6)
        diagonal = theirs.diagonal().reshape(40, 50)[unknown]
        np.testing.assert_allclose(ours.diagonal[0].numpy()[unknown], diagonal.clip(min=1e-3), rtol=1e-6)


def test_loops_are_compiled_where_nothing_can_be_kept_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.core import caching

    from rem_engine.matte.compiled import compiled

    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])

    def doubled(value):
        return 2.0 * value

    assert compiled("f8(f8)")(doubled)(1.5) == 3.0


@pytest.mark.parametrize("errs", [False, True], ids=["exact masks", "masks that err"])
def test_the_edge_of_a_solid_thing_is_that_of_the_plate(errs: bool) -> None:
    alpha = disk()
    cells = erring(cells_of(alpha)) if errs else cells_of(alpha)
    error = np.abs(solved(cells, alpha) - alpha).sum() / np.abs(bicubic(cells) - alpha).sum()
    assert error < (0.35 if errs else 0.2)


def test_what_the_plate_shows_to_be_soft_has_the_means_that_the_model_gave_it() -> None:
    """A bicubic upscale is nearly that, and its cells have not quite the mask's means."""
    alpha, cells = haze(), cells_of(haze())
    found, plain = solved(cells, alpha), bicubic(cells)
    assert np.abs(cells_of(found) - cells).mean() < 0.5 * np.abs(cells_of(plain) - cells).mean()
    assert np.abs(found - alpha).sum() < np.abs(plain - alpha).sum()


@pytest.mark.parametrize(("side", "of_a_disk", "of_haze"), [(160, 0.6, 1.0), (256, 0.35, 0.1), (400, 0.3, 0.8)])
def test_an_exact_mask_that_is_as_fine_as_the_plate_says_nearly_all(
    side: int, of_a_disk: float, of_haze: float
) -> None:
    """Shares of the bicubic upscale's error; masks have fewer cells than the plate along both sides, one, or none."""
    for alpha, most in ((disk(), of_a_disk), (haze(), of_haze)):
        parts = alpha.repeat(4, axis=0).repeat(4, axis=1)  # of pixels, so that means are exact
        own = cv2.resize(parts, (side, side), interpolation=cv2.INTER_AREA)
        scaled = masks_to_shot(torch.from_numpy(own)[None, None, None], (HEIGHT, WIDTH))[:, 0]
        frame = Frame(0, scaled, torch.from_numpy(plate_of(alpha)), cells=((side, side),))
        (matte,) = matte_frames([frame], MatteSettings())
        assert np.abs(matte.alpha[0].numpy() - alpha).sum() < most * np.abs(bicubic(own) - alpha).sum()


@pytest.mark.parametrize(
    ("light", "deviation", "most"), [(1.0, 0.1, 0.5), (0.2, 0.02, 0.4), (0.06, 0.02, 0.95), (0.02, 0.02, 1.01)]
)
@pytest.mark.parametrize("matrix_free", [False, True], ids=["matrix", "without"])
def test_noise_of_a_plate_does_not_become_alphas(
    light: float, deviation: float, most: float, matrix_free: bool
) -> None:
    """Pushed and dark plates in 8 bits; of the last one nobody can see where its edges are."""
    alpha, cells = disk(), cells_of(disk())
    grain = np.random.default_rng(4).normal(0.0, deviation, (HEIGHT, WIDTH, 3))
    plate = np.rint((light * plate_of(alpha) + grain).clip(0.0, 1.0) * 255.0).astype(np.float32) / np.float32(255.0)
    found = EdgeSolver(["auto"], matrix_free=matrix_free).solve({0: cells}, torch.from_numpy(plate))[0].numpy()
    assert np.abs(found - alpha).sum() < most * np.abs(bicubic(cells) - alpha).sum()


def test_of_a_plate_of_little_noise_nothing_is_taken() -> None:
    plate = torch.from_numpy(plate_of(disk()))
    deviation, contrast = noise(plate)
    assert deviation == pytest.approx(0.006, rel=0.1)
    assert contrast == pytest.approx(float(plate.numpy().std(axis=(0, 1)).mean()), rel=0.2)
    assert without_noise(plate, noisiness(plate)) is plate


def test_the_kind_of_edges_can_be_said() -> None:
    alpha, cells = disk(), cells_of(disk())
    np.testing.assert_array_equal(solved(cells, alpha, "soft"), bicubic(cells))
    soft = cells_of(haze())
    assert np.abs(solved(soft, haze(), "solid") - bicubic(soft)).max() > 0.02


def test_layers_without_matrices_and_at_once_equal_each_with_its_own() -> None:
    layers = [erring(cells_of(disk())), cells_of(disk(30.0, 230.0)), cells_of(haze())]
    plate = torch.from_numpy(plate_of(np.maximum(disk(), disk(30.0, 230.0))))
    masks = dict(enumerate(layers))
    with_matrices = EdgeSolver(["auto"] * 3).solve(masks, plate)
    without = EdgeSolver(["auto"] * 3, matrix_free=True).solve(masks, plate)
    assert (with_matrices - without).abs().max() < 1e-3
    alone = EdgeSolver(["auto"]).solve({0: layers[1]}, plate)
    assert torch.equal(alone[0], with_matrices[1])


def hairs() -> np.ndarray:
    """Thin lines every way, which masks of cells hardly show: data within a trimap of them hold little."""
    rng, sheet = np.random.default_rng(12), np.zeros((4 * HEIGHT, 4 * WIDTH), np.uint8)
    for angle in rng.uniform(0.0, 2.0 * np.pi, 60):
        reach, turn = rng.uniform(180.0, 330.0), rng.normal(0.0, 0.5)
        way = np.linspace(40.0, reach, 30)[:, None]
        turned = angle + turn * (way / reach) ** 2
        points = np.concatenate([640.0 + 1.6 * way * np.cos(turned), 360.0 + way * np.sin(turned)], axis=1)
        cv2.polylines(sheet, [points.astype(np.int32)], False, 255, 5)
    cv2.circle(sheet, (640, 360), 110, 255, -1)
    return cv2.resize(sheet, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0


@pytest.mark.parametrize("errs", [False, True], ids=["exact masks", "masks that err"])
def test_what_other_devices_compute_is_what_the_cpu_does_where_data_are_few(
    errs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpha = hairs()
    cells = erring(cells_of(alpha)) if errs else cells_of(alpha)
    ours = solved(cells, alpha, "solid")
    for module in (resampling, guided, blur):
        monkeypatch.setattr(module, "on_cpu", lambda _: False)
    np.testing.assert_allclose(solved(cells, alpha, "solid", matrix_free=True), ours, atol=5e-4)
    assert np.abs(ours - bicubic(cells)).max() > 0.3


@pytest.mark.parametrize(("size", "model"), [((180, 320), (36, 64)), ((180, 320), (256, 256)), ((97, 61), (40, 96))])
def test_masks_get_their_means_alike_everywhere(
    size: tuple[int, int], model: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tuple(min(sides) for sides in zip(size, model))
    mask = torch.from_numpy(cv2.GaussianBlur(np.random.default_rng(3).random(own), (0, 0), 1.5)).float()
    ours, quiet = with_means(mask, cubic(mask[None], size)[0], model), grain.without_grain(mask[None])
    for module in (resampling, grain):
        monkeypatch.setattr(module, "on_cpu", lambda _: False)
    assert (with_means(mask, cubic(mask[None], size)[0], model) - ours).abs().max() < 1e-5
    assert torch.equal(grain.without_grain(mask[None]), quiet)


def test_lines_of_bands_are_those_of_the_whole_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    alpha, picture = bicubic(cells_of(disk())), plate_of(disk())
    found = guided._lines(alpha, picture)
    monkeypatch.setattr(guided, "_BAND", HEIGHT)
    np.testing.assert_allclose(found, guided._lines(alpha, picture), atol=1e-5)


def test_reduction_by_area_is_the_same_everywhere() -> None:
    picture = textured(5, (0.1, 0.2, 0.3))[:40, :50]
    finer = np.repeat(np.repeat(picture, 27, axis=0), 36, axis=1)  # whole parts of 27 x 36 pixels, of which 40 x 50
    expected = finer.reshape(27, 40, 36, 50, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(averaged(torch.from_numpy(picture), (27, 36)), expected, atol=3e-5)
    rows, columns = (_areas(*lengths).numpy() for lengths in ((27, 40), (36, 50)))
    np.testing.assert_allclose(np.einsum("yh,hwc,xw->yxc", rows, picture, columns), expected, atol=3e-5)


def test_decisions_are_means_over_a_take_and_forget_what_is_long_past() -> None:
    decisions = Decisions("auto")
    decisions.see(Seen(3.0, 0.05, 0.5, 0.95))
    assert decisions.made(8.0).solid == 1.0
    decisions.see(None)
    decisions.see(Seen(0.3, 0.05, 0.5, 0.95))
    assert decisions.made(8.0).solid == pytest.approx(0.5)  # a mean of 1.65, halfway from 1.3 to 2.0
    for _ in range(12):
        decisions.see(Seen(0.3, 0.05, 0.5, 0.95))
    assert decisions.made(8.0).solid == 0.0


def test_a_mask_that_errs_much_makes_a_thing_solid_later() -> None:
    """REM-mini's of fire contradict the plate as much as exact ones of solid things do."""
    for misfit, energy, expected in ((0.2, 1.95, 0.986), (0.5, 1.95, 0.5), (0.5, 2.6, 1.0), (0.5, 1.3, 0.0)):
        decisions = Decisions("auto")
        decisions.see(Seen(energy, misfit, 0.5, 0.95))
        assert decisions.made(8.0).solid == pytest.approx(expected, abs=2e-3)


def test_a_mask_that_is_exact_and_nearly_as_fine_as_the_plate_is_left_alone() -> None:
    for misfit, cell, expected in ((0.05, 1.4, 0.0), (0.05, 2.0, 1.0), (0.3, 1.4, 1.0)):
        decisions = Decisions("auto")
        decisions.see(Seen(3.0, misfit, 0.5, 0.95))
        assert decisions.made(cell).solid == expected


def test_a_sharp_mask_that_is_nearly_as_fine_as_the_plate_is_left_alone_whatever_its_solution_says() -> None:
    """That of a net has as much energy with exact masks as with blurred ones, whose edges rise by less than half."""
    for sharpness, cell, expected in ((0.9, 1.4, 0.0), (0.45, 1.4, 1.0), (0.9, 2.0, 1.0)):
        decisions = Decisions("auto")
        decisions.see(Seen(3.0, 0.3, 0.5, 0.95, sharpness))
        assert decisions.made(cell).solid == expected


def test_an_exact_mask_whose_solution_is_as_soft_as_itself_is_left_alone() -> None:
    """Defocus before a ground of firm edges contradicts a ramp as much as a solid thing does."""
    for misfit, softness, expected in ((0.05, 0.99, 0.0), (0.05, 0.95, 0.5), (0.05, 0.9, 1.0), (0.3, 0.99, 1.0)):
        decisions = Decisions("auto")
        decisions.see(Seen(3.3, misfit, softness, 0.95))
        assert decisions.made(8.0).solid == pytest.approx(expected, abs=1e-6)


def take(count: int) -> list[Frame]:
    frames = []
    for index in range(count):
        alpha = disk(x=120.0 + index)
        cells = torch.from_numpy(erring(cells_of(alpha), index))[None]
        frames.append(Frame(index, cells, torch.from_numpy(plate_of(alpha))))
    return frames


def test_a_run_that_goes_on_gives_the_same_mattes() -> None:
    frames, settings = take(14), MatteSettings()
    assert settings.frames_before == 11 and replace(settings, smooth=2).frames_before == 13
    whole = [frame.alpha for frame in matte_frames(frames, settings)]
    resumed = [frame.alpha for frame in matte_frames(frames[2:], settings)]
    assert torch.equal(whole[13], resumed[11])


def test_what_is_decided_of_a_take_ends_with_it() -> None:
    """A thing that is solid, and at a cut smoke."""
    smoke = cells_of(haze())
    frames = take(4) + [
        Frame(index, torch.from_numpy(smoke)[None], torch.from_numpy(plate_of(haze()))) for index in (4, 5)
    ]
    cut, uncut = ([frame.alpha for frame in matte_frames(frames, MatteSettings(), cuts=cuts)] for cuts in ((4,), ()))
    for before, same in zip(cut[:4], uncut[:4]):
        assert torch.equal(before, same)
    for place in (4, 5):
        np.testing.assert_allclose(cut[place][0], bicubic(smoke), atol=5e-3)
        assert np.abs(uncut[place][0].numpy() - bicubic(smoke)).max() > 0.02  # else this test would show nothing


@pytest.mark.thorough
def test_memory_does_not_grow_with_the_take() -> None:
    told = Path("/proc/self/statm")
    if not told.exists():
        pytest.skip("this system does not tell")
    again = take(3)
    frames = (replace(again[index % 3], index=index) for index in range(310))
    pages = [int(told.read_text("utf-8").split()[1]) for _ in matte_frames(frames, MatteSettings())]
    assert (pages[-1] - pages[9]) * os.sysconf("SC_PAGESIZE") < 8 * 2**20  # a frame takes 1.2 MiB


def test_masks_scaled_up_by_the_engine_and_the_models_own_give_the_same_mattes() -> None:
    (own,) = take(1)
    scaled = masks_to_shot(own.soft[:, None, None], (HEIGHT, WIDTH))[:, 0]
    alphas = [
        next(iter(matte_frames([frame], settings))).alpha
        for frame, settings in (
            (own, MatteSettings()),
            (Frame(0, scaled, own.plate, cells=(CELLS,)), MatteSettings()),
            (Frame(0, scaled, own.plate), MatteSettings()),
        )
    ]
    for alpha in alphas[1:]:
        assert (alpha - alphas[0]).abs().max() < 2e-3


def test_a_take_whose_masks_show_their_size_now_and_then_is_smoothed() -> None:
    """One frame's mask was scaled up, the other's has the plate's own edges: nothing says of which size they are."""
    alpha = disk()
    scaled = masks_to_shot(torch.from_numpy(cells_of(alpha))[None, None, None], (HEIGHT, WIDTH))[:, 0]
    masks = [torch.from_numpy(alpha)[None], scaled, torch.from_numpy(alpha)[None]]
    assert [find_size(mask[0].numpy()) for mask in masks] == [None, CELLS, None]
    frames = [Frame(t, mask, torch.from_numpy(plate_of(alpha))) for t, mask in enumerate(masks)]
    for matte in matte_frames(frames, MatteSettings(smooth=1)):
        assert np.abs(matte.alpha[0].numpy() - alpha).sum() < np.abs(scaled[0].numpy() - alpha).sum()


def test_masks_of_the_plates_own_size_stay_as_they_are() -> None:
    alpha = disk()
    (matte,) = matte_frames(
        [Frame(0, torch.from_numpy(alpha)[None], torch.from_numpy(plate_of(alpha)))], MatteSettings()
    )
    assert torch.equal(matte.alpha[0], torch.from_numpy(alpha))


def test_small_masks_are_scaled_up_bicubic_where_nothing_is_solved() -> None:
    (frame,) = take(1)
    (matte,) = matte_frames([frame], MatteSettings(refine=0))
    np.testing.assert_allclose(matte.alpha[0], bicubic(frame.soft[0].numpy()), atol=1e-6)


@pytest.mark.parametrize("cells", [(1, 64), (64, 1)])
def test_masks_of_a_single_row_or_column_of_cells_are_solved(cells: tuple[int, int]) -> None:
    mask = np.zeros(cells, np.float32)
    mask.reshape(-1)[mask.size // 2 :] = 1.0
    frame = Frame(0, torch.from_numpy(mask)[None], torch.from_numpy(plate_of(disk())))
    for kind in ("auto", "solid"):
        (matte,) = matte_frames([frame], MatteSettings(edges=kind))
        assert matte.alpha is not None
        assert matte.alpha.shape == (1, HEIGHT, WIDTH)
        assert abs(float(matte.alpha.mean()) - float(mask.mean())) < 0.1
