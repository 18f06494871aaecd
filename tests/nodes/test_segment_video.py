"""SegmentVideo inside each ComfyUI found, on both backbones: the golden cases, latents encoded once, a cancel; and a
second VAE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from in_comfyui import report_of

LIMITS = {"Wan": 2e-4, "ModelScope": 3e-4}  # of mask latents and soft masks
LIMITS_FLOAT16 = {"Wan": 6e-4, "ModelScope": 2e-3}  # of soft masks where only the float16 file has them
FLIPPED_PIXELS = 20


@pytest.fixture(scope="module")
def report(host: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tests/nodes/video_in_host.py found in one ComfyUI."""
    try:
        arguments = [request.getfixturevalue("golden")]
    except pytest.skip.Exception:
        arguments = []
    return report_of("video_in_host.py", host, tmp_path_factory.mktemp("segment_video"), *arguments)


@pytest.fixture(params=list(LIMITS))
def backbone(request: pytest.FixtureRequest) -> str:
    if request.param == "ModelScope":
        request.getfixturevalue("golden")  # has the only small weights of it
    return request.param


@pytest.fixture
def found(backbone: str, report: dict[str, Any]) -> dict[str, Any]:
    """What was found of one backbone."""
    return report[backbone]


@pytest.fixture
def golden_cases(found: dict[str, Any], golden: object) -> dict[str, dict[str, Any]]:
    """What was found of each case; the test is skipped where there are none."""
    return found["golden"]


def test_soft_masks_are_the_authors(backbone: str, golden_cases: dict[str, dict[str, Any]]) -> None:
    for case in golden_cases.values():
        assert max(case["soft"], default=0.0) <= LIMITS[backbone]
        assert max(case["half"]) <= LIMITS_FLOAT16[backbone]


def test_binary_masks_are_the_authors(golden_cases: dict[str, dict[str, Any]]) -> None:
    for case in golden_cases.values():
        assert max(case["flipped"]) <= FLIPPED_PIXELS


def test_mask_latents_are_the_authors(backbone: str, golden_cases: dict[str, dict[str, Any]]) -> None:
    assert len(golden_cases["f9_half"]["predicted"]) == 2
    for case in golden_cases.values():
        assert max(case["predicted"], default=0.0) <= LIMITS[backbone]


def test_prompts_of_a_case_share_its_latents(golden_cases: dict[str, dict[str, Any]]) -> None:
    for case in golden_cases.values():
        assert case["encoded"] == case["windows"]


@pytest.mark.parametrize(
    "form", ["official over base", "delta over base", "lora over base", "full by the stock loader"]
)
def test_every_form_of_wans_official_file_gives_the_authors_latents(
    report: dict[str, Any], golden: object, form: str
) -> None:
    assert report["forms"][form] <= LIMITS["Wan"]
    assert report["forms"]["base"] > 10 * LIMITS["Wan"]


def test_the_stock_loader_reads_converted_fp8(report: dict[str, Any], golden: object) -> None:
    assert report["forms"]["fp8 by the stock loader"] < 0.1


def test_the_host_computes_in_float32_on_a_cpu(report: dict[str, Any], golden: object) -> None:
    assert report["precision"] == ["torch.float32", "torch.float32"]


def test_windows_and_tails_of_any_length_are_the_engines(backbone: str, found: dict[str, Any], golden: object) -> None:
    for count, length in found["lengths"].items():
        assert length["soft"] <= LIMITS[backbone], count
        assert length["flipped"] <= FLIPPED_PIXELS, count


def test_a_shot_is_encoded_once_for_all_prompts(found: dict[str, Any]) -> None:
    counts = found["cache"]["counts"]
    assert counts["first"] == 2  # windows
    assert counts["other prompt"] == 0
    assert counts["after a restart"] == 0 and counts["not kept on disk"] == 2
    assert found["cache"]["same masks"] == 0.0


@pytest.mark.parametrize("change", ["changed pixel", "other size", "other network"])
def test_latents_are_never_those_of_other_frames_or_another_vae(found: dict[str, Any], change: str) -> None:
    assert found["cache"]["counts"][change] == 2


def test_kept_latents_are_bounded_and_go_with_the_vae(found: dict[str, Any]) -> None:
    cache = found["cache"]
    assert 0 < cache["bytes"] < cache["limit"] == 256 * 2**20
    assert max(cache["sizes"]) == 3 * 4000  # of six that were kept
    assert cache["kept"] == [0, 4, 5]  # the first was asked for all the time
    assert not cache["too large"]
    assert cache["gone"]


def test_a_second_vae_decodes_and_the_first_encodes(report: dict[str, Any]) -> None:
    decoder = report["decoder"]
    assert decoder["same"] == 0.0  # with equal weights
    assert decoder["calls"] == [0, 0, 1]  # decoded by the first; encoded, decoded by the second


def test_masks_may_be_drawn_by_the_mask_decoder_of_the_vae(report: dict[str, Any]) -> None:
    """To the masks of the command line; beside a second VAE, or for a VAE that has none, a sentence says so."""
    of_engine, of_vae = report["decoder"]["mask"]
    assert of_engine < 1e-4 < of_vae
    sentences = report["decoder"]["sentences"]
    assert "disconnect it, or set decoder to vae" in sentences["two decoders"]
    assert sentences["another VAE"].startswith("There is no mask decoder for this VAE: set decoder to vae")


def test_the_tiny_autoencoder_gets_the_latents_it_was_made_for(report: dict[str, Any]) -> None:
    if "tiny" not in report["decoder"]:
        pytest.skip("this ComfyUI's Load VAE knows no tiny autoencoder for video")
    assert report["decoder"]["tiny"] < 1e-5
    low, high = report["decoder"]["tiny range"]
    assert high - low > 0.5
    assert "HunyuanVideo" in report["decoder"]["sentences"]["hunyuan"]


def test_a_vae_of_another_kind_is_refused_for_decoding(report: dict[str, Any]) -> None:
    sentence = report["decoder"]["sentences"]["pixels"]
    assert "PixelspaceConversionVAE" in sentence and sentence.endswith(".")


def test_a_cancel_between_windows_frees_memory_and_leaves_the_host_usable(found: dict[str, Any]) -> None:
    cancel = found["cancel"]
    assert cancel["ended"] and cancel["windows"] == 1
    assert all(cancel["freed"])
    assert cancel["next"] == 0.0


def test_the_node_says_how_many_prompts_go_together_and_where_takes_begin(found: dict[str, Any]) -> None:
    together, *empty = found["notes"][-1].splitlines()
    assert together == "2 of 2 prompts at a time. Takes begin at frames 0, 6."
    # Weights drawn at random find nothing, and the node says of which layers.
    assert all(line.startswith(f"The masks of {layer} are empty: ") for line, layer in zip(empty, ("smoke", "fire")))
