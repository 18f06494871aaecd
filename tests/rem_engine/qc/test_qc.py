"""Every kind of defect that is put into clean mattes is found, and clean mattes raise nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import pytest

from rem_engine.commands.cli import main
from rem_engine.commands.qc import EXIT_DEFECTS
from rem_engine.matte.motion import Picture
from rem_engine.qc.check import check_run
from rem_engine.qc.findings import of_layer
from rem_engine.qc.measure import Measurer, Measures
from rem_engine.qc.settings import QcSettings
from trainer.synth.backgrounds import procedural
from trainer.synth.scene import RenderedShot
from trainer.synth.worlds import WORLDS

FRAMES, HEIGHT, WIDTH = 14, 144, 256
NUMBERS = tuple(range(1001, 1001 + FRAMES))
Spoil = Callable[[np.ndarray], np.ndarray]


def rendered(world: str, seed: int) -> RenderedShot:
    return WORLDS[world].render_shot(np.random.default_rng((5, seed)), procedural, FRAMES, HEIGHT, WIDTH)


def measured(shot: RenderedShot, mattes: list[np.ndarray]) -> list[list[Measures | None]]:
    """Of each matte [T,H,W] over the shot's frames."""
    measurer, found = Measurer(), []
    for index, frame in enumerate(shot.frames):
        picture = Picture.of(frame.clip(0.0, 1.0).astype(np.float32))
        found += measurer.add(index, [matte[index] for matte in mattes], picture)
    found += measurer.finish()
    return [[frame[place] for frame in found] for place in range(len(mattes))]


def kinds_found(of_one: list[Measures | None]) -> set[str]:
    return {found.kind for found in of_layer("layer", of_one, NUMBERS, (), QcSettings())}


# ---- defects


def _grown(matte: np.ndarray, pixels: int) -> np.ndarray:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(pixels) + 1,) * 2)
    return (cv2.dilate if pixels > 0 else cv2.erode)(matte, kernel)


def flickering(mattes: np.ndarray) -> np.ndarray:
    spoilt = mattes.copy()
    for index in range(4, 10):
        spoilt[index] = _grown(spoilt[index], 2 if index % 2 else -1)
    return spoilt


def jumping(mattes: np.ndarray) -> np.ndarray:
    """Twice as much in one frame."""
    spoilt, pixels = mattes.copy(), 1
    while spoilt[7].sum() < 2.0 * mattes[7].sum():
        spoilt[7] = _grown(mattes[7], pixels)
        pixels += 1
    return spoilt


def _deepest(matte: np.ndarray) -> tuple[int, int, float]:
    """(x, y, distance to the outside) of the place deepest inside."""
    inside = np.pad((matte > 0.8).astype(np.uint8), 1)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(distance.argmax(), distance.shape)
    return int(x), int(y), float(distance.max())


def holed(mattes: np.ndarray) -> np.ndarray:
    spoilt = mattes.copy()
    for index in (6, 7, 8):
        x, y, deep = _deepest(mattes[index])
        cv2.circle(spoilt[index], (x, y), max(int(0.7 * deep), 1), 0.0, -1)
    return spoilt


def with_islands(mattes: np.ndarray) -> np.ndarray:
    spoilt = mattes.copy()
    free = np.pad((mattes.max(axis=0) < 0.01).astype(np.uint8), 1)
    distance = cv2.distanceTransform(free, cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(distance.argmax(), distance.shape)
    area = 0.05 * mattes[7].sum()
    for index in (6, 7, 8):
        cv2.circle(spoilt[index], (int(x), int(y)), max(round((area / np.pi) ** 0.5), 2), 1.0, -1)
    return spoilt


def clipped(mattes: np.ndarray) -> np.ndarray:
    spoilt = mattes.copy()
    spoilt[5:8] = spoilt[5:8] > 0.5
    return spoilt


def emptied(mattes: np.ndarray) -> np.ndarray:
    spoilt = mattes.copy()
    spoilt[6] = 0.0
    return spoilt


def filled(mattes: np.ndarray) -> np.ndarray:
    spoilt = mattes.copy()
    spoilt[6] = 1.0
    return spoilt


def not_finite(mattes: np.ndarray) -> np.ndarray:
    spoilt = mattes.copy()
    spoilt[6, 3, 3] = np.nan
    return spoilt


DEFECTS: dict[str, Spoil] = {
    "flicker": flickering,
    "jump": jumping,
    "holes": holed,
    "islands": with_islands,
    "softness": clipped,
    "empty": emptied,
    "full": filled,
    "not finite": not_finite,
}


def can_have(defect: str, mattes: np.ndarray) -> bool:
    """What cannot be hurt so is left out: no hole fits into what is thin, or is no longer a hole in what is soft."""
    if defect != "holes":
        return True
    deep = min(_deepest(mattes[index])[2] for index in (6, 7, 8))
    return int(0.7 * deep) >= 1 and np.pi * int(0.7 * deep) ** 2 > 0.04 * np.median(mattes.sum(axis=(1, 2)))


@pytest.mark.slow
@pytest.mark.parametrize(("world", "seed"), [("plain", 2), ("plain", 4), ("rich", 3)])
def test_every_defect_of_every_layer_is_found_and_clean_layers_raise_nothing(world: str, seed: int) -> None:
    shot = rendered(world, seed)
    layers = [matte for matte in shot.mattes if np.median(matte.mean(axis=(1, 2))) > 0.005]
    cases = [(defect, layer) for defect in DEFECTS for layer in layers if can_have(defect, layer)]
    spoilt = [DEFECTS[defect](layer) for defect, layer in cases]
    of_all = measured(shot, [*layers, *spoilt])
    for of_one in of_all[: len(layers)]:
        assert kinds_found(of_one) == set()
    missed = [defect for (defect, _), of_one in zip(cases, of_all[len(layers) :]) if defect not in kinds_found(of_one)]
    assert missed == []
    assert {defect for defect, _ in cases} >= set(DEFECTS) - {"holes"}


# ---- a run's folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of a run over plates and masks of a rendered shot; its layers are a ring and a fire."""
    root, shot = tmp_path_factory.mktemp("qc"), rendered("plain", 2)
    for index, frame in enumerate(shot.frames):
        write_png(root / "plate" / f"sh_v003.{NUMBERS[index]}.png", frame[..., ::-1], 255)
        for name, place in (("ring", 1), ("fire", 3)):
            write_png(root / name / f"m.{NUMBERS[index]}.png", shot.mattes[place, index], 65535)
    masks = [part for name in ("ring", "fire") for part in ("--masks", f"{name}={root / name}")]
    given = ["--refine", "0", "--cuts", "none", "--write", "alpha,alpha_exr", "--exr-type", "float"]
    assert main(["matte", str(root / "plate"), *masks, "-o", str(root / "out"), *given, "--qc"]) == 0
    return root


def write_png(file: Path, values: np.ndarray, white: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    kind = np.uint8 if white == 255 else np.uint16
    assert cv2.imwrite(str(file), np.rint(values.clip(0.0, 1.0) * white).astype(kind))


@pytest.fixture
def out(run: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    for file in (run / "out").rglob("*"):
        if file.is_file() and "qc" not in file.relative_to(run / "out").parts:
            copy = tmp_path / "out" / file.relative_to(run / "out")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    return tmp_path / "out"


def told(out: Path, **entries: object) -> None:
    """Has run.json say something else."""
    said = json.loads((out / "run.json").read_text("utf-8"))
    (out / "run.json").write_text(json.dumps(said | entries), "utf-8")


def found_in(out: Path) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(found.kind, found.layer, found.numbers) for found in check_run(out).findings]


def test_a_clean_run_raises_nothing_and_its_page_asks_no_network(run: Path) -> None:
    report = json.loads((run / "out" / "qc" / "qc.json").read_text("utf-8"))
    assert report["clean"] and report["with_plate"] and report["findings"] == []
    assert [frame["number"] for frame in report["layers"]["fire"]["frames"]] == [*NUMBERS]
    page = (run / "out" / "qc" / "index.html").read_text("utf-8")
    assert page.count("<svg") == 6 and page.count("data:image/jpeg;base64,") >= 20
    assert not re.findall(r"(?:src|href)=(?!\"data:)|https?://|<script", page)


def test_a_frame_that_is_missing_or_cut_off_is_found(out: Path) -> None:
    (out / "fire" / "alpha" / "sh_v003.1004.png").unlink()
    damaged = out / "fire" / "alpha" / "sh_v003.1006.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    (out / "ring" / "alpha_exr" / "sh_v003.1009.exr").unlink()  # of files that are not looked at, too
    missing = [(layer, numbers) for kind, layer, numbers in found_in(out) if kind == "missing"]
    assert sorted(missing) == [("fire", (1004, 1006)), ("ring", (1009,))]


def test_layers_are_looked_over_in_a_cryptomatte(run: Path, tmp_path: Path) -> None:
    masks = [part for name in ("ring", "fire") for part in ("--masks", f"{name}={run / name}")]
    arguments = ["matte", str(run / "plate"), *masks, "-o", str(tmp_path), "--refine", "0", "--write", "cryptomatte"]
    assert main([*arguments, "--cuts", "none", "--qc"]) == 0
    layers = json.loads((tmp_path / "qc" / "qc.json").read_text("utf-8"))["layers"]
    assert [layers[name]["files"] for name in ("ring", "fire")] == ["cryptomatte"] * 2
    files = [sorted((run / name).iterdir()) for name in ("ring", "fire")]
    ring, fire = (
        np.stack([cv2.imread(str(file), cv2.IMREAD_UNCHANGED) / 65535 for file in of_one]) for of_one in files
    )
    areas = (fire / np.maximum(ring + fire, 1.0)).mean(axis=(1, 2))  # what overlaps is shared
    assert [frame["area"] for frame in layers["fire"]["frames"]] == pytest.approx([*areas], abs=1e-5)


def test_a_value_that_is_no_number_is_found_in_an_exr(out: Path) -> None:
    for layer in ("fire", "ring"):
        for file in (out / layer / "alpha").iterdir():
            file.unlink()
    said = json.loads((out / "run.json").read_text("utf-8"))
    told(out, files=[files for files in said["files"] if files["kind"] == "alpha_exr"])
    file = out / "fire" / "alpha_exr" / "sh_v003.1005.exr"
    with OpenEXR.File(str(file), separate_channels=True) as opened:
        header, pixels = dict(opened.header()), opened.channels()["A"].pixels.copy()
    pixels[pixels.shape[0] // 2, pixels.shape[1] // 2] = np.nan
    del header["channels"]
    OpenEXR.File(header, {"A": pixels}).write(str(file))
    assert ("not finite", "fire", (1005,)) in found_in(out)


def test_a_layer_that_is_nowhere_more_than_faint_is_empty() -> None:
    """A model's halo where nothing is, of which runs say that the layer is empty; thin smoke is none."""
    halo = np.full((HEIGHT, WIDTH), 0.02, np.float32)
    smoke = halo.copy()
    smoke[40:60, 40:60] = 0.2
    for matte, kinds in ((halo, {"empty"}), (smoke, set())):
        measurer, found = Measurer(), []
        for index in range(FRAMES):
            found += measurer.add(index, [matte], None)
        found += measurer.finish()
        assert kinds_found([frame[0] for frame in found]) == kinds


def test_frames_of_which_the_model_was_unsure_are_found(out: Path) -> None:
    told(out, window_disagreement={"3": 0.31, "4": 0.81, "5": 0.37})
    assert found_in(out) == [("unsure", "", (1005, 1006))]


def test_a_cut_that_the_run_took_for_one_take_is_found(run: Path, out: Path, tmp_path: Path) -> None:
    other = rendered("plain", 7)
    for index in range(FRAMES):
        name = f"sh_v003.{NUMBERS[index]}.png"
        if index < 8:
            (tmp_path / "edit").mkdir(exist_ok=True)
            (tmp_path / "edit" / name).write_bytes((run / "plate" / name).read_bytes())
        else:
            write_png(tmp_path / "edit" / name, 1.0 - other.frames[index][::-1, :, ::-1], 255)
    shot = json.loads((out / "run.json").read_text("utf-8"))["shot"] | {"path": str(tmp_path / "edit")}
    told(out, shot=shot, cuts=[8])
    assert "cut" not in {kind for kind, _, _ in found_in(out)}
    told(out, shot=shot, cuts=[])
    assert ("cut", "", (1009,)) in found_in(out)


def test_the_command_says_what_was_found_and_ends_with_its_own_code(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    matte = out / "ring" / "alpha" / "sh_v003.1007.png"
    write_png(matte, np.zeros((HEIGHT, WIDTH)), 65535)
    assert main(["qc", str(out), "--movie"]) == EXIT_DEFECTS
    said = capsys.readouterr().out
    assert "ring, 1007: nothing is in the matte." in said and str(out / "qc" / "index.html") in said
    assert [str(out / "qc" / f"{layer}.mp4") in said for layer in ("ring", "fire")] == [True, True]
    with av.open(out / "qc" / "ring.mp4") as movie:
        pictures = [picture.to_ndarray(format="rgb24") for picture in movie.decode(video=0)]
    assert len(pictures) == FRAMES
    height, width = pictures[0].shape[:2]
    assert (width, height > HEIGHT) == (2 * WIDTH, True)
    white = cv2.imread(str(out / "ring" / "alpha" / "sh_v003.1010.png"), cv2.IMREAD_UNCHANGED) / 65535
    shown = pictures[9][:HEIGHT, WIDTH:].mean(axis=2) / 255
    assert np.abs(shown - white).mean() < 0.02
    assert pictures[9][HEIGHT + 2 :].max() > 200  # burnt in


def test_without_the_plate_it_says_so_and_still_finds_what_it_can(out: Path) -> None:
    told(out, shot={"name": "sh_v003", "path": "", "numbers": "1001-1014", "frames": FRAMES})
    write_png(out / "fire" / "alpha" / "sh_v003.1007.png", np.ones((HEIGHT, WIDTH)), 65535)
    report = check_run(out)
    assert not report.has_plate and ("full", (1007,)) in [(found.kind, found.numbers) for found in report.findings]
    assert "flicker, holes, islands and cuts were not looked for" in (out / "qc" / "index.html").read_text("utf-8")


def test_a_run_without_mattes_gets_a_sentence(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(out, files=[])
    assert main(["qc", str(out)]) == 2
    assert "lists no mattes: let the run write some" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "holds no run.json of a run"), ("{", "is damaged or another program's")],
)
def test_a_folder_that_is_no_runs_gets_a_sentence(
    tmp_path: Path, content: str | None, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    assert main(["qc", str(tmp_path)]) == 2
    assert sentence in capsys.readouterr().err
