"""The shipped workflows in a running ComfyUI: right masks, cancel, wrong input, stock loaders."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from comfy_hosts import PACK, version_number
from comfy_server import ComfyServer, Graph, Refused, message
from PIL import Image
from small_video import disc_video, write_lossless

from rem_engine.commands.cli import main as command_line
from rem_engine.media import open_shot
from rem_engine.pixels import to_uint8

SAMPLE = PACK / "assets" / "sample_shot.mp4"
MINI = PACK / "rem_engine" / "mini"
PROMPTS = ["the smoke", "the red thing on the left"]
FRAMES = 6
SECOND = 2  # the prompt the masks are asked for, counted from 1


def api_workflow(name: str) -> Graph:
    return json.loads((PACK / "workflows" / "api" / f"{name}.json").read_text(encoding="utf-8"))


def short_graph() -> Graph:
    """The shipped workflow on a few frames and two prompts, which also saves the soft and the binary mask."""
    graph = api_workflow("segment_a_shot")
    graph["1"]["inputs"]["frame_limit"] = FRAMES
    graph["3"]["inputs"]["text"] = "\n".join(PROMPTS)
    graph["4"]["inputs"]["prompt"] = SECOND
    graph["5"]["inputs"]["refine"] = 0  # masks are looked at here, and solving edges takes seconds a frame
    for number, output in ((100, 0), (110, 1)):
        graph[str(number)] = {"class_type": "MaskToImage", "inputs": {"mask": ["4", output]}}
        graph[str(number + 1)] = {
            "class_type": "SaveImage",
            "inputs": {"images": [str(number), 0], "filename_prefix": "mask"},
        }
    return graph


def levels(files: list[Path]) -> np.ndarray:
    """Grey values of saved masks, uint8 [T,H,W]."""
    return np.stack([np.asarray(Image.open(file).convert("RGB"))[..., 0] for file in files])


def assert_same_masks(found: np.ndarray, expected: np.ndarray) -> None:
    """8-bit masks, equal but for rounding: values that differ by 1e-4 fall on two levels in 1 of 40 pixels."""
    assert found.shape == expected.shape
    difference = np.abs(found.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.025


@pytest.fixture(scope="module")
def entry(comfy: ComfyServer) -> dict[str, Any]:
    """The short graph, run once in each ComfyUI."""
    ended = comfy.run(short_graph())
    assert ended["status"]["status_str"] == "success", ended["status"]
    return ended


@pytest.fixture(scope="session")
def command_line_soft(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Soft masks [T,H,W] of the same frames and prompt from the command line."""
    folder = tmp_path_factory.mktemp("command_line")
    prompts = [argument for prompt in PROMPTS for argument in ("-p", prompt)]
    out = folder / "out"
    options = ["-o", str(out), "--frames", f"1001-{1000 + FRAMES}", "--device", "cpu", "--write", "npz"]
    assert command_line(["segment", str(SAMPLE), *prompts, *options]) == 0
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    with np.load(out / run["prompts"][SECOND - 1]["folder"] / "soft.npz") as arrays:
        return arrays["soft"]


def test_the_workflow_gives_the_command_lines_masks(
    comfy: ComfyServer, entry: dict[str, Any], command_line_soft: np.ndarray
) -> None:
    soft = levels(comfy.saved(entry, "101"))
    # SaveImage cuts the fraction off.
    assert_same_masks(soft, (command_line_soft.clip(0.0, 1.0) * 255.0).astype(np.uint8))
    binary = levels(comfy.saved(entry, "111"))
    assert set(np.unique(binary)) <= {0, 255}
    assert ((binary == 255) != (command_line_soft > 0.5)).mean() < 1e-3


def test_the_workflow_saves_rgba_frames_and_an_overlay(comfy: ComfyServer, entry: dict[str, Any]) -> None:
    frames = comfy.saved(entry, "8")
    assert len(frames) == FRAMES
    with open_shot(SAMPLE) as shot:
        expected = shot.read(0, 1)[0]
        rate = float(shot.fps)
    picture = np.asarray(Image.open(frames[0]))
    assert picture.shape == (*expected.shape[:2], 4)
    assert np.abs(picture[..., :3].astype(int) - to_uint8(expected)).max() <= 1  # straight colour
    (overlay,) = comfy.saved(entry, "7")
    with av.open(str(overlay)) as video:
        stream = video.streams.video[0]
        assert (stream.height, stream.width) == expected.shape[:2]
        assert float(stream.average_rate) == pytest.approx(rate, rel=1e-3)
        assert sum(1 for _ in video.decode(video=0)) == FRAMES


def test_nodes_preview_their_masks_as_small_videos(comfy: ComfyServer, entry: dict[str, Any]) -> None:
    """One for the host's player, and one whose tiles are the plate and each layer's mask, for the pack's."""
    with open_shot(SAMPLE) as shot:
        plate = cv2.resize(to_uint8(shot.read(0, 1)[0]), (512, 288), interpolation=cv2.INTER_AREA)
    for node, layers in (("4", len(PROMPTS)), ("5", 1)):
        (shown,) = comfy.saved(entry, node)
        (about,) = entry["outputs"][node]["matte_preview"]
        assert entry["outputs"][node]["animated"] == [True] and len(about["layers"]) == layers
        assert (about["tile"], about["frames"]) == ([512, 288], FRAMES)
        tiles = comfy.base / about["tiles"]["type"] / about["tiles"]["filename"]
        for file in (shown, tiles):
            with av.open(str(file)) as video:
                frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
            assert len(frames) == FRAMES
        rows = -(-(1 + layers) // about["columns"])
        assert frames[0].shape == (rows * 288, about["columns"] * 512, 3)
        assert np.abs(frames[0][:288, :512].astype(int) - plate).mean() < 6  # H.264
    masks = levels(comfy.saved(entry, "101"))  # of the second prompt
    row, column = divmod(SECOND, about_of(entry, "4")["columns"])
    with av.open(str(comfy.base / "temp" / about_of(entry, "4")["tiles"]["filename"])) as video:
        frame = next(video.decode(video=0)).to_ndarray(format="rgb24")
    tile = frame[288 * row : 288 * row + 288, 512 * column : 512 * column + 512, 1]
    expected = cv2.resize(masks[0], (512, 288), interpolation=cv2.INTER_AREA)
    assert expected.std() > 10 and np.abs(tile.astype(int) - expected).mean() < 3


def about_of(entry: dict[str, Any], node: str) -> dict[str, Any]:
    """What a node says of its preview."""
    return entry["outputs"][node]["matte_preview"][0]


def test_a_video_gives_the_masks_of_its_frames(comfy: ComfyServer, entry: dict[str, Any]) -> None:
    write_lossless(comfy.base / "input" / "disc.mp4", disc_video())
    masks = []
    for output in (("1", 0), ("9", 0)):  # the VIDEO itself, and its frames as IMAGE
        graph = short_graph()
        graph["1"] = {"class_type": "LoadVideo", "inputs": {"file": "disc.mp4"}}
        graph["9"] = {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}}
        graph["4"]["inputs"]["image"] = list(output)
        for node in ("5", "6", "7", "8"):
            del graph[node]
        masks.append(levels(comfy.saved(comfy.run(graph), "101")))
    assert_same_masks(*masks)


def test_a_run_shows_masks_while_it_goes_on(comfy: ComfyServer) -> None:
    graph = short_graph()
    graph["4"]["inputs"]["threshold"] = 0.49  # otherwise the host hands out what it remembers
    pictures = comfy.pictures_of(graph)
    assert pictures
    for picture in pictures:
        image = Image.open(BytesIO(picture))
        assert image.format == "JPEG" and image.size == (512, 288)


def test_a_cached_run_gives_its_previews_again(comfy: ComfyServer, entry: dict[str, Any]) -> None:
    if version_number(comfy.host) < (0, 28):
        pytest.skip("this ComfyUI gives a run's previews once; the page keeps them")
    again = comfy.run(short_graph() | {"300": {"class_type": "PreviewAny", "inputs": {"source": ["4", 3]}}})
    assert about_of(again, "4")["tiles"]["filename"].endswith("_tiles.mp4")


def test_a_run_cancelled_half_way_leaves_the_server_usable(comfy: ComfyServer, entry: dict[str, Any]) -> None:
    graph = short_graph()
    graph["1"]["inputs"]["frame_limit"] = 0
    graph["3"]["inputs"]["text"] = "\n".join(f"thing number {number}" for number in range(4))
    prompt_id = comfy.wait_for_progress(graph, node="4", share=0.3)
    comfy.post("/interrupt")
    ended = comfy.wait(prompt_id)
    interrupted = message(ended, "execution_interrupted")
    assert interrupted is not None and interrupted["node_type"] == "SegmentVideo", ended["status"]

    again = short_graph()
    again["4"]["inputs"]["threshold"] = 0.51  # otherwise the host hands out what it remembers
    assert_same_masks(levels(comfy.saved(comfy.run(again), "101")), levels(comfy.saved(entry, "101")))


def test_a_wrong_checkpoint_name_is_answered_with_one_sentence(comfy: ComfyServer) -> None:
    graph = short_graph()
    graph["2"]["inputs"]["checkpoint"] = "absent.safetensors"
    with pytest.raises(Refused) as refused:
        comfy.submit(graph)
    (error,) = refused.value.answer["node_errors"]["2"]["errors"]
    assert "There is no checkpoint 'absent.safetensors'" in error["details"]
    assert str(comfy.base / "models" / "rem") in error["details"]


def test_an_empty_prompt_is_answered_with_one_sentence(comfy: ComfyServer) -> None:
    graph = short_graph()
    graph["3"]["inputs"]["text"] = "  \n"
    with pytest.raises(Refused) as refused:
        comfy.submit(graph)
    (error,) = refused.value.answer["node_errors"]["3"]["errors"]
    assert "The prompt is empty" in error["details"]


def test_the_stock_model_loader_loads_rem_mini(comfy: ComfyServer, entry: dict[str, Any]) -> None:
    link_mini(comfy, "diffusion_models", "transformer/rem_mini.safetensors")
    card = json.loads((MINI / "rem.json").read_text(encoding="utf-8"))
    graph = short_graph()
    graph["200"] = {
        "class_type": "UNETLoader",
        "inputs": {"unet_name": "rem_mini.safetensors", "weight_dtype": "default"},
    }
    # A MODEL that LoadREM has not seen is taken for a full Wan; what REM-mini was trained at has to be said.
    graph["4"]["inputs"] |= {
        "model": ["200", 0],
        "height": card["size"][0],
        "width": card["size"][1],
        "window": card["window"],
        "overlap": card["overlap"],
    }
    assert_same_masks(levels(comfy.saved(comfy.run(graph), "101")), levels(comfy.saved(entry, "101")))


def test_the_stock_vae_loader_loads_rem_mini(comfy: ComfyServer, entry: dict[str, Any]) -> None:
    if not reads_the_width_of_a_vae(comfy.host):
        pytest.skip("this ComfyUI's Load VAE takes full-width Wan VAEs only; LoadREM brings REM-mini's itself")
    link_mini(comfy, "vae", "vae/rem_mini_vae.safetensors")
    graph = short_graph()
    graph["201"] = {"class_type": "VAELoader", "inputs": {"vae_name": "rem_mini_vae.safetensors"}}
    graph["4"]["inputs"]["vae"] = ["201", 0]
    assert_same_masks(levels(comfy.saved(comfy.run(graph), "101")), levels(comfy.saved(entry, "101")))


def link_mini(comfy: ComfyServer, folder: str, file: str) -> None:
    """Put a file of REM-mini into a model folder of the host."""
    (comfy.base / "models" / folder / Path(file).name).symlink_to(MINI / file)


def reads_the_width_of_a_vae(host: Path) -> bool:
    return 'sd["decoder.head.0.gamma"].shape' in (host / "comfy" / "sd.py").read_text(encoding="utf-8")


def test_the_video_workflow_runs_on_a_file_of_the_input_folder(comfy: ComfyServer) -> None:
    write_lossless(comfy.base / "input" / "your_video.mp4", disc_video())
    graph = api_workflow("segment_your_video")
    graph["1"] = {"class_type": "LoadVideo", "inputs": {"file": "your_video.mp4"}}
    for node, name in (("4", "image"), ("9", "video")):
        assert graph[node]["inputs"][name] == ["1", 2]
        graph[node]["inputs"][name] = ["1", 0]
    ended = comfy.run(graph)
    assert ended["status"]["status_str"] == "success", ended["status"]
    assert len(comfy.saved(ended, "8")) == len(disc_video())
