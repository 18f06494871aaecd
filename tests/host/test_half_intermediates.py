"""A ComfyUI that hands IMAGE and MASK on in half precision: the nodes take them as they take others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from comfy_hosts import make_base
from comfy_server import ComfyServer, Graph, running
from PIL import Image
from test_delivery_workflows import ended_well, exr_channels, folder_of

FLAG = "--fp16-intermediates"
SIZE = (48, 64)


@pytest.fixture(scope="module")
def comfy(host: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A server with the flag."""
    if FLAG not in (host / "comfy" / "cli_args.py").read_text(encoding="utf-8"):
        pytest.skip(f"this ComfyUI has no {FLAG}")
    with running(host, make_base(tmp_path_factory.mktemp("half")), FLAG) as server:
        yield server


def test_pictures_in_half_precision_go_through_every_node(comfy: ComfyServer) -> None:
    rng = np.random.default_rng(5)
    picture = rng.integers(0, 256, (*SIZE, 4)).astype(np.uint8)
    Image.fromarray(picture).save(comfy.base / "input" / "rgba.png")
    graph: Graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "rgba.png"}},
        "2": {
            "class_type": "MaskToAlpha",
            "inputs": {
                "image": ["1", 0], "mask": ["1", 1], "black": 0.0, "white": 1.0, "gamma": 1.0, "grow": 0,
                "feather": 0.0, "invert": True, "colour": "straight",
            },
        },
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "half"}},
        "4": {
            "class_type": "SaveMatte",
            "inputs": {
                "image": ["1", 0], "mask": ["2", 1], "filename_prefix": "half/exr", "format": "exr", "start": 1001,
                "colour": "straight", "fps": 24.0,
            },
        },
        "5": {"class_type": "LoadREM", "inputs": {"checkpoint": "REM-mini (bundled)"}},
        "6": {"class_type": "EncodeText", "inputs": {"clip": ["5", 1], "text": "smoke"}},
        "7": {
            "class_type": "SegmentVideo",
            "inputs": {
                "model": ["5", 0], "vae": ["5", 2], "conditioning": ["6", 0], "image": ["1", 0], "prompt": 1,
                "threshold": 0.5, "protocol": "shot", "height": 48, "width": 64, "window": 5, "overlap": 0,
            },
        },
        "8": {"class_type": "SaveImage", "inputs": {"images": ["7", 2], "filename_prefix": "overlay"}},
    }  # fmt: skip
    entry = ended_well(comfy, graph)
    (saved,) = comfy.saved(entry, "3")
    found = np.asarray(Image.open(saved)).astype(int)
    # The host's MASK is 1 where the picture is transparent; half precision has 11 bits.
    assert np.abs(found - picture).max() <= 1
    (frame,) = exr_channels(sorted((folder_of(entry, "4") / "exr").iterdir()))
    assert np.abs(frame["matte.A"] - picture[..., 3] / 255).max() < 1e-3
    (overlay,) = comfy.saved(entry, "8")
    assert Image.open(overlay).size == SIZE[::-1]
