"""Segment Shot over several shots, in a running ComfyUI: what is there stays, what fails is told."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
from comfy_server import RUN_SECONDS, ComfyServer, Graph, Refused, message
from PIL import Image
from small_video import FRAMES, disc_video, write_lossless
from test_server import api_workflow

NODE = "4"
TEXT = "disc: the red circle"


def graph_of(shots: str, prefix: str, **values: Any) -> Graph:
    """The graph of deliver_a_shot over a list of shots, in windows of five frames."""
    graph = api_workflow("deliver_a_shot")
    (shot,) = [name for name, node in graph.items() if node["class_type"] == "SegmentShot"]
    kept = {name: node for name, node in graph.items() if node["class_type"] in ("LoadREM", "EncodeText")}
    for node in kept.values():
        if node["class_type"] == "EncodeText":
            node["inputs"]["text"] = TEXT
    inputs = {name: value for name, value in graph[shot]["inputs"].items() if name != "video"}
    inputs |= {"path": "connected video", "shots": shots, "filename_prefix": prefix, "window": 5, "overlap": 2}
    inputs |= {"format": "exr", "also": "none", **values}
    return kept | {NODE: {"class_type": "SegmentShot", "inputs": inputs}}


def write_frames(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, frame in enumerate(disc_video()):
        Image.fromarray(frame).save(folder / f"plate.{number + 1001}.png")


def ended_well(server: ComfyServer, graph: Graph) -> tuple[Path, list[str]]:
    """The folder that the node wrote, and what it said before it."""
    entry = server.run(graph)
    assert entry["status"]["status_str"] == "success", entry["status"]
    text = entry["outputs"][NODE]["text"]
    place = next(index for index, line in enumerate(text) if Path(line).is_absolute())
    return Path(text[place]), text[:place]


def written_at(folder: Path) -> dict[str, int]:
    """EXRs by name and when they were written."""
    files = sorted(folder.rglob("*.exr"))
    return {file.relative_to(folder).as_posix(): file.stat().st_mtime_ns for file in files}


def alphas(folder: Path) -> list[np.ndarray]:
    found = []
    for file in sorted(folder.glob("exr/*.exr")):
        with OpenEXR.File(str(file), separate_channels=True) as image:
            found.append(np.array(image.channels()["disc.A"].pixels))
    return found


def written_graph(folder: Path) -> str:
    """The graph in the header of an EXR."""
    with OpenEXR.File(str(min(folder.glob("exr/*.exr")))) as image:
        return image.header()["prompt"]


def states(folder: Path) -> dict[str, list[str]]:
    return json.loads((folder / "batch.json").read_text("utf-8"))["shots"]


def test_each_shot_of_a_folder_has_its_own_and_one_that_fails_does_not_stop_the_others(comfy: ComfyServer) -> None:
    shots = comfy.base / "input" / "dailies"
    (shots / "more").mkdir(parents=True)
    (shots / "a.mov").write_bytes(b"no video")
    write_lossless(shots / "b.mp4", disc_video())
    write_lossless(shots / "more" / "b.mp4", disc_video()[::-1])
    write_frames(shots / "plates")
    graph = graph_of("# all of today\ndailies\n", "batch/failing")

    folder, said = ended_well(comfy, graph)
    assert said[0].startswith("4 shots: 3 written, 1 failed")
    assert said[1].startswith("dailies/a.mov failed: ") and "a.mov" in said[1].partition(": ")[2]
    first = written_at(folder)
    for graph_there in (folder / "b" / "workflow.json").read_text("utf-8"), written_graph(folder / "b"):
        assert json.loads(graph_there, parse_constant=pytest.fail)[NODE]["class_type"] == "SegmentShot"
    numbers = range(1001, 1001 + FRAMES)
    expected = [f"{shot}/exr/{name}.{number}.exr" for shot, name in (("b", "b"), ("b_2", "b")) for number in numbers]
    assert [*first] == [*expected, *(f"plates/exr/plate.{number}.exr" for number in numbers)]
    assert {shot: state for shot, (_, state) in states(folder).items() if state == "whole"}.keys() == {
        "dailies/b.mp4", "dailies/more/b.mp4", "dailies/plates/",
    }  # fmt: skip
    forward, backward = alphas(folder / "b"), alphas(folder / "b_2")
    assert all(np.array_equal(one, other) for one, other in zip(forward, alphas(folder / "plates")))
    assert np.abs(forward[0] - backward[0]).max() > 0.5  # of another shot
    for shot in ("b", "b_2", "plates"):
        assert (
            {"preview.mp4", "workflow.json", "run.json"}
            >= {file.name for file in (folder / shot).iterdir() if file.is_file()}
            >= {"preview.mp4", "run.json"}
        )

    write_lossless(shots / "a.mov", disc_video())
    again, said = ended_well(comfy, graph)
    assert again == folder and said == ["4 shots: 1 written, 3 there already."]
    second = written_at(folder)
    assert {name: second[name] for name in first} == first
    assert {*second} - {*first} == {f"a/exr/a.{number}.exr" for number in numbers}

    other, said = ended_well(comfy, graph_of("dailies/plates", "batch/failing", threshold=0.3))
    assert other != folder and said == ["1 shot: 1 written."]


def test_a_batch_that_was_cancelled_goes_on_where_it_stopped(comfy: ComfyServer) -> None:
    shots = comfy.base / "input" / "cancelled"
    long = np.concatenate([disc_video()] * 6)
    shots.mkdir()
    write_lossless(shots / "first.mp4", disc_video())
    write_lossless(shots / "second.mp4", long)
    graph = graph_of("cancelled/first.mp4\ncancelled/second.mp4", "batch/cancelled")
    folder = comfy.base / "output" / "batch" / "cancelled_00001"

    prompt_id = comfy.submit(graph)
    deadline = time.monotonic() + RUN_SECONDS
    while not (folder / "second" / "exr" / "second.1010.exr").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    comfy.post("/interrupt")
    ended = comfy.wait(prompt_id)
    assert message(ended, "execution_interrupted") is not None, ended["status"]
    stopped = written_at(folder)
    kept = {name for name in stopped if name.startswith("second/")}
    assert 10 <= len(kept) < len(long)
    assert states(folder) == {
        "cancelled/first.mp4": ["first", "whole"], "cancelled/second.mp4": ["second", ""],
    }  # fmt: skip

    again, said = ended_well(comfy, graph)
    assert again == folder and said == ["2 shots: 1 written, 1 there already."]
    whole = written_at(folder)
    assert {name: whole[name] for name in stopped} == stopped
    assert len(whole) == FRAMES + len(long)
    alone, _ = ended_well(comfy, graph_of("cancelled/second.mp4", "batch/alone"))
    together = alphas(folder / "second")
    assert all(np.array_equal(one, other) for one, other in zip(together, alphas(alone / "second"), strict=True))


def test_a_run_that_ends_before_it_wrote_leaves_no_folder(comfy: ComfyServer) -> None:
    write_lossless(comfy.base / "input" / "sized_otherwise.mp4", disc_video())
    write_frames(broken := comfy.base / "input" / "broken")
    (broken / "plate.1003.png").write_bytes((broken / "plate.1003.png").read_bytes()[:60])
    small = {"9": {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 8, "height": 8}}}
    masked = graph_of("", "left/shot", path="sized_otherwise.mp4", include=["9", 0]) | small
    for graph, told in ((masked, "mask at include 8x8"), (graph_of("", "left/shot", path="broken/"), "plate.1003.png")):
        failed = message(comfy.run(graph), "execution_error")
        assert failed is not None and told in failed["exception_message"], failed
    assert not [*(comfy.base / "output" / "left").glob("*")]


def test_wrong_lists_are_told_before_anything_runs(comfy: ComfyServer) -> None:
    write_lossless(comfy.base / "input" / "sized.mp4", disc_video())
    for shots, prefix, told in (
        ("absent.mov", "batch/wrong", "There is no shot 'absent.mov'"),
        ("../secret", "batch/wrong", "leads out of"),
        ("sized.mp4", "batch/%width%", "sizes of their own"),
    ):
        with pytest.raises(Refused) as refused:
            comfy.submit(graph_of(shots, prefix))
        assert told in json.dumps(refused.value.answer)
    (comfy.base / "input" / "nothing").mkdir()
    failed = message(comfy.run(graph_of("nothing", "batch/wrong")), "execution_error")
    assert failed is not None and "There is no shot in the folder" in failed["exception_message"]
