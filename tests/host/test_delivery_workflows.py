"""`roto_named_layers`, `deliver_a_shot` and `shapes_and_cryptomatte` in a running ComfyUI, their files read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import OpenEXR
import pytest
from comfy_server import ComfyServer, Graph, Refused
from PIL import Image
from small_video import FRAMES, SIZE, write_lossless
from test_mistakes import graph as matte_graph
from test_server import SAMPLE, api_workflow

from rem_engine.commands.cli import main as command_line
from rem_engine.media import open_shot
from rem_engine.pixels import to_uint8

ROTO_FRAMES = 3
TEXT = "smoke: the smoke | -the red star\ncircle: the orange circle"
LAYERS = ("smoke", "circle")


def small_shot() -> np.ndarray:
    """The first frames of the sample shot, small, uint8 [T,H,W,3]."""
    with open_shot(SAMPLE) as shot:
        return np.stack(
            [cv2.resize(frame, SIZE[::-1], interpolation=cv2.INTER_AREA) for frame in to_uint8(shot.read(0, FRAMES))]
        )


def exr_channels(files: list[Path]) -> list[dict[str, np.ndarray]]:
    frames = []
    for file in files:
        with OpenEXR.File(str(file), separate_channels=True) as image:
            frames.append({name: np.array(channel.pixels) for name, channel in image.channels().items()})
    return frames


def ended_well(server: ComfyServer, graph: Graph) -> dict[str, Any]:
    entry = server.run(graph)
    assert entry["status"]["status_str"] == "success", entry["status"]
    return entry


def folder_of(entry: dict[str, Any], node: str) -> Path:
    """Where a node wrote its files, by what it showed, which may begin with sentences on the shot and its mattes."""
    return next(Path(text) for text in entry["outputs"][node]["text"] if Path(text).is_absolute())


@pytest.fixture(scope="module")
def video(comfy: ComfyServer) -> str:
    """A small shot in the input folder."""
    name = "small.mp4"
    write_lossless(comfy.base / "input" / name, small_shot())
    return name


@pytest.fixture(scope="module")
def command_line_alpha(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Alphas [L,T,H,W] of the same shot from the command line."""
    folder = tmp_path_factory.mktemp("delivery")
    write_lossless(folder / "small.mp4", small_shot())
    prompts = [argument for line in TEXT.splitlines() for argument in ("-p", line)]
    options = ["-o", str(folder / "out"), "--smooth", "2", "--write", "exr", "--start", "1001", "--device", "cpu"]
    assert command_line(["segment", str(folder / "small.mp4"), *prompts, *options]) == 0
    files = sorted((folder / "out" / "exr").glob("*.exr"))
    frames = exr_channels(files)
    assert files[0].name.endswith(".1001.exr") and len(files) == FRAMES
    return np.stack([[frame[f"{name}.A"] for frame in frames] for name in LAYERS]).astype(np.float64)


def shot_graph(name: str, **inputs: Any) -> Graph:
    graph = api_workflow("deliver_a_shot")
    graph["3"]["inputs"]["text"] = TEXT
    graph["4"]["inputs"] |= {"filename_prefix": f"tests/{name}"} | inputs
    return graph


@pytest.fixture(scope="module")
def from_path(comfy: ComfyServer, video: str) -> Path:
    """Folder that the twin wrote for a shot of the input folder."""
    graph = shot_graph("path", path=video)
    del graph["4"]["inputs"]["video"], graph["1"]
    return folder_of(ended_well(comfy, graph), "4")


def test_segment_shot_writes_the_command_lines_alphas(from_path: Path, command_line_alpha: np.ndarray) -> None:
    files = sorted((from_path / "exr").iterdir())
    assert [file.name for file in files] == [f"path.{number}.exr" for number in range(1001, 1001 + FRAMES)]
    frames = exr_channels(files)
    found = np.stack([[frame[f"{name}.A"] for frame in frames] for name in LAYERS]).astype(np.float64)
    assert command_line_alpha.std() > 0.05
    # Two implementations of one network, then rounding to half floats.
    assert np.abs(found - command_line_alpha).max() < 2e-3


def test_segment_shot_keeps_the_picture_rate_and_length(from_path: Path) -> None:
    first = exr_channels([from_path / "exr" / "path.1001.exr"])[0]
    display = small_shot()[0] / 255.0
    linear = np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)
    assert np.abs(np.stack([first[name] for name in "RGB"], axis=-1) - linear).max() < 1e-3
    for layer in LAYERS:
        with av.open(str(from_path / layer / "path.mov")) as movie:
            stream = movie.streams.video[0]
            assert (stream.height, stream.width) == SIZE and stream.average_rate == 24
            assert sum(1 for _ in movie.decode(stream)) == FRAMES


def test_the_preview_that_stands_for_a_run_holds_its_graph(from_path: Path, video: str) -> None:
    with av.open(str(from_path / "preview.mp4")) as movie:
        graph = json.loads(movie.metadata["prompt"])
    assert graph["4"]["class_type"] == "SegmentShot" and graph["4"]["inputs"]["path"] == video


def test_segment_shot_streams_a_loaded_video(comfy: ComfyServer, video: str, from_path: Path) -> None:
    graph = shot_graph("video", also="none")
    graph["1"] = {"class_type": "LoadVideo", "inputs": {"file": video}}
    graph["4"]["inputs"]["video"] = ["1", 0]
    files = sorted((folder_of(ended_well(comfy, graph), "4") / "exr").iterdir())
    for one, other in zip(exr_channels(files), exr_channels(sorted((from_path / "exr").iterdir())), strict=True):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_segment_shot_follows_trim_video(comfy: ComfyServer, video: str, from_path: Path) -> None:
    """Frames 3 to 6 of the shot, and no others: each EXR holds the picture of its own."""
    if "Video Slice" not in comfy.get("/object_info"):
        pytest.skip("this ComfyUI cannot trim a VIDEO")
    graph = shot_graph("trimmed", also="none")
    graph["1"] = {"class_type": "LoadVideo", "inputs": {"file": video}}
    span = {"start_time": 3 / 24, "duration": 4 / 24, "strict_duration": False}
    graph["9"] = {"class_type": "Video Slice", "inputs": {"video": ["1", 0]} | span}
    graph["4"]["inputs"]["video"] = ["9", 0]
    files = sorted((folder_of(ended_well(comfy, graph), "4") / "exr").iterdir())
    assert len(files) == 4
    whole = exr_channels(sorted((from_path / "exr").iterdir()))
    for found, expected in zip(exr_channels(files), whole[3:7], strict=True):
        assert all(np.array_equal(found[name], expected[name]) for name in "RGB")


@pytest.mark.thorough
def test_shapes_and_cryptomatte_are_named_by_a_template(comfy: ComfyServer, video: str) -> None:
    """Each run's version is its folder's; layers are found in the Cryptomatte by their names."""
    graph = api_workflow("shapes_and_cryptomatte")
    graph["3"]["inputs"]["text"] = TEXT
    template = "AGM_{shot}_{layer}_v{version:03}.{frame}"
    graph["4"]["inputs"] |= {"path": video, "filename_prefix": "tests/named", "file_names": template}
    del graph["4"]["inputs"]["video"], graph["1"]
    for version in (1, 2):
        graph["4"]["inputs"]["feather"] = float(version)  # or the host has the first run's result
        folder = folder_of(ended_well(comfy, graph), "4")
        assert folder.name == f"named_0000{version}"
        files = sorted((folder / "cryptomatte").iterdir())
        numbers = range(1001, 1001 + FRAMES)
        assert [file.name for file in files] == [f"AGM_named_mattes_v00{version}.{number}.exr" for number in numbers]
        with OpenEXR.File(str(files[0])) as image:
            (manifest,) = [value for name, value in image.header().items() if name.endswith("/manifest")]
        assert {*json.loads(manifest)} == {*LAYERS}
        for layer in LAYERS:
            names = {file.name for file in (folder / layer).iterdir()}
            suffixes = ("shapes.json", "nk", "fxs", "blender.py", "jsx")
            assert names == {f"AGM_named_{layer}_v00{version}.{suffix}" for suffix in suffixes}
            shapes = json.loads((folder / layer / f"AGM_named_{layer}_v00{version}.shapes.json").read_text())
            assert shapes["shapes"]


@pytest.mark.thorough
def test_save_matte_names_files_by_a_template(comfy: ComfyServer) -> None:
    graph = api_workflow("roto_named_layers")
    graph["1"]["inputs"]["frame_limit"] = 1
    graph["6"]["inputs"] |= {
        "file_names": "{shot}_{layer}_v{version:02}.{frame:06}",
        "filename_prefix": "tests/named_roto",
    }
    folder = folder_of(ended_well(comfy, graph), "6")
    assert [file.name for file in (folder / "exr").iterdir()] == ["named_roto_mattes_v01.001001.exr"]


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{shot}_{layer}", "for example {shot}_{layer}_v{version:03}.{frame}."),
        ("{show}.{frame}", "has {show}, which nothing in a graph says"),
        ("a/{shot}.{frame}", "folders go into filename_prefix"),
        ("{shot.{frame}", "a brace that nothing closes"),
    ],
)
def test_a_template_that_names_no_files_is_told_before_the_run(
    comfy: ComfyServer, template: str, sentence: str
) -> None:
    graph = api_workflow("shapes_and_cryptomatte")
    graph["4"]["inputs"]["file_names"] = template
    with pytest.raises(Refused) as refused:
        comfy.submit(graph)
    assert sentence in str(refused.value.answer["node_errors"]["4"]["errors"])


def test_a_shot_outside_the_input_folder_is_refused(comfy: ComfyServer) -> None:
    graph = shot_graph("outside", path="../models")
    del graph["4"]["inputs"]["video"], graph["1"]
    with pytest.raises(Refused) as refused:
        comfy.submit(graph)
    errors = refused.value.answer["node_errors"]["4"]["errors"]  # the host's: a node's sentence for each input it sees
    assert all("leads out of ComfyUI's input folder" in error["details"] for error in errors)


@pytest.fixture(scope="module")
def roto(comfy: ComfyServer) -> dict[str, Any]:
    """The roto workflow on a few frames."""
    graph = api_workflow("roto_named_layers")
    graph["1"]["inputs"]["frame_limit"] = ROTO_FRAMES
    graph["4"]["inputs"]["threshold"] = 0.3  # so few frames give faint masks
    return ended_well(comfy, graph)


def test_roto_layers_lie_in_one_exr_by_their_names(comfy: ComfyServer, roto: dict[str, Any]) -> None:
    folder = folder_of(roto, "6")
    assert folder.parent == comfy.base / "output" / "ReferEverything"
    files = sorted((folder / "exr").iterdir())
    assert [file.name for file in files] == [f"roto.{number}.exr" for number in range(1001, 1001 + ROTO_FRAMES)]
    for frame in exr_channels(files):
        layers = [frame[f"{name}.A"] for name in ("smoke", "star", "circle")]
        assert all(layer.max() > 0.5 for layer in layers)
        assert "A" not in frame and {"R", "G", "B"} <= set(frame)  # the plate, and mattes as layers


def test_the_id_map_numbers_the_layers(comfy: ComfyServer, roto: dict[str, Any]) -> None:
    files = comfy.saved(roto, "7")
    assert len(files) == ROTO_FRAMES
    masks = exr_channels(sorted((folder_of(roto, "6") / "exr").iterdir()))
    for file, frame in zip(files, masks, strict=True):
        ids = np.asarray(Image.open(file))[..., 0]
        assert set(np.unique(ids)) == {0, 1, 2, 3}
        for number, name in enumerate(("smoke", "star", "circle"), start=1):
            assert frame[f"{name}.A"][ids == number].mean() > 0.3


def test_files_of_roto_shapes_are_results_too(comfy: ComfyServer) -> None:
    shapes = {"format": "shapes", "filename_prefix": "outlines/shot"}
    entry = comfy.run(matte_graph(SaveMatte=shapes, SolidMask={"value": 1.0}))
    assert entry["status"]["status_str"] == "success", entry["status"]
    files = {Path(file["filename"]).suffix for file in entry["outputs"]["4"]["video"]}
    assert files >= {".json", ".nk", ".fxs", ".py", ".jsx"}
