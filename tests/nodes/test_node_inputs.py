"""IMAGE and MASK of every kind inside each ComfyUI found: taken as what they are, or refused by all nodes alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from in_comfyui import report_of

ROUNDING = 1 / 65535  # of alphas in files of 16 bits


@pytest.fixture(scope="module")
def report(host: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tests/nodes/inputs_in_host.py found in one ComfyUI."""
    return report_of("inputs_in_host.py", host, tmp_path_factory.mktemp("node_inputs"))


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_every_kind_is_taken_as_what_it_is_and_given_on_in_float32(report: dict[str, Any], kind: str) -> None:
    assert len(report[kind]) > 12
    for name, (dtype, requires_grad, difference) in report[kind].items():
        assert (dtype, requires_grad) == ("torch.float32", False), name
        assert difference < 1e-6, name


def test_every_kind_of_mask_is_saved_as_what_it_is(report: dict[str, Any]) -> None:
    for name, difference in report["saved"].items():
        assert difference <= ROUNDING, name


def test_every_kind_of_image_is_segmented_as_its_float32_is(report: dict[str, Any]) -> None:
    for name, difference in report["segmented"].items():
        assert difference < 1e-5, name


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("0..255", "values 0 to 255 were found: divide 8-bit values by 255"),
        ("-1..1", "values -1 to 1 were found"),
        ("-1..1 of half", "values -1 to 1 were found"),
        ("0..255 from the second frame on", "values 0 to 255 were found"),
        ("NaN", "Frame 1 of the shot holds values that are not finite"),
        ("int64", "Frames of type int64 cannot be read; use uint8, uint16, or float in 0..1"),
        ("two channels", "cannot be read"),
        ("no frames", "has no frames"),
        ("list", "is of type list, and a tensor is expected"),
    ],
)
def test_an_image_that_means_something_else_is_refused_by_all_nodes_alike(
    report: dict[str, Any], image: str, said: str
) -> None:
    sentences = report["sentences"]["images"][image]
    for node, sentence in sentences.items():
        assert sentence.startswith("ValueError: ") and said in sentence, (node, sentence)
    assert len({sentence.replace("foreground", "IMAGE") for sentence in sentences.values()}) == 1


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ("0..255", "must lie in 0..1, but values 0 to 255 were found"),
        ("-1..1", "values -1 to 1 were found"),
        ("NaN", "mask of frame 0 holds values that are not finite"),
        ("label map", "holds integers from 0 to 2, which are no shades"),
        ("label map of floats", "values 0 to 2 were found"),
        ("int64", "holds integers from 0 to 255"),
        ("[T,H,W,3]", "of shape [3, 24, 32, 3] cannot be used; [T,H,W]"),
        ("other size", "The image is 32x24 pixels and the mask 32x16"),
        ("other count", "There are 3 images and 2 masks"),
        ("list", "is of type list, and a tensor is expected"),
    ],
)
def test_a_mask_that_means_something_else_is_refused_by_all_nodes_alike(
    report: dict[str, Any], mask: str, said: str
) -> None:
    sentences = report["sentences"]["masks"][mask]
    if mask == "other size":
        assert "and the mask at mask_3 32x16; they must" in sentences["mask_3"]
    sentences = {node: sentence.replace(f" at {node}", "") for node, sentence in sentences.items()}
    for node, sentence in sentences.items():
        assert sentence.startswith("ValueError: ") and said in sentence, (node, sentence)
    assert len({sentence.replace(node, "MASK") for node, sentence in sentences.items()}) <= 2


def test_nothing_is_written_of_what_is_refused(report: dict[str, Any]) -> None:
    assert report["sentences"]["written"] == []
