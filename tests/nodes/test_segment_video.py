"""SegmentVideo inside each ComfyUI found: the golden cases, latents encoded once, a second VAE, and a cancel."""

from __future__ import annotations

from typing import Any

import pytest
from comfy_hosts import host_params
from in_comfyui import report_of

LATENT_LIMIT = MASK_LIMIT = 2e-4
MASK_LIMIT_FLOAT16 = 6e-4  # where only the float16 file has the masks
FLIPPED_PIXELS = 20


@pytest.fixture(scope="module", params=host_params())
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tests/nodes/video_in_host.py found in one ComfyUI."""
    try:
        arguments = [request.getfixturevalue("golden")]
    except pytest.skip.Exception:
        arguments = []
    return report_of("video_in_host.py", request.param, tmp_path_factory.mktemp("segment_video"), *arguments)


@pytest.fixture
def golden_cases(report: dict[str, Any], golden: object) -> dict[str, dict[str, Any]]:
    """What was found of each case; the test is skipped where there are none."""
    return {name: found for name, found in report["golden"].items() if isinstance(found, dict)}


def test_soft_masks_are_the_authors(golden_cases: dict[str, dict[str, Any]]) -> None:
    for found in golden_cases.values():
        assert max(found["soft"], default=0.0) <= MASK_LIMIT
        assert max(found["half"]) <= MASK_LIMIT_FLOAT16


def test_binary_masks_are_the_authors(golden_cases: dict[str, dict[str, Any]]) -> None:
    for found in golden_cases.values():
        assert max(found["flipped"]) <= FLIPPED_PIXELS


def test_mask_latents_are_the_authors(golden_cases: dict[str, dict[str, Any]]) -> None:
    assert len(golden_cases["f9_half"]["predicted"]) == 2
    for found in golden_cases.values():
        assert max(found["predicted"], default=0.0) <= LATENT_LIMIT


def test_prompts_of_a_case_share_its_latents(golden_cases: dict[str, dict[str, Any]]) -> None:
    for found in golden_cases.values():
        assert found["encoded"] == found["windows"]


@pytest.mark.parametrize(
    "form", ["official over base", "delta over base", "lora over base", "full by the stock loader"]
)
def test_every_form_of_the_official_file_gives_the_authors_latents(
    report: dict[str, Any], golden_cases: object, form: str
) -> None:
    assert report["golden"][form] <= LATENT_LIMIT
    assert report["golden"]["base"] > 10 * LATENT_LIMIT


def test_the_stock_loader_reads_converted_fp8(report: dict[str, Any], golden_cases: object) -> None:
    assert report["golden"]["fp8 by the stock loader"] < 0.1


def test_the_host_computes_in_float32_on_a_cpu(report: dict[str, Any], golden_cases: object) -> None:
    assert report["golden"]["precision"] == ["torch.float32", "torch.float32"]


def test_windows_and_tails_of_any_length_are_the_engines(report: dict[str, Any], golden_cases: object) -> None:
    for count, found in report["lengths"].items():
        assert found["soft"] <= MASK_LIMIT, count
        assert found["flipped"] <= FLIPPED_PIXELS, count


def test_a_shot_is_encoded_once_for_all_prompts(report: dict[str, Any]) -> None:
    counts = report["cache"]["counts"]
    assert counts["first"] == 2  # windows
    assert counts["other prompt"] == 0
    assert report["cache"]["same masks"] == 0.0


@pytest.mark.parametrize("change", ["changed pixel", "other size", "other network"])
def test_latents_are_never_those_of_other_frames_or_another_vae(report: dict[str, Any], change: str) -> None:
    assert report["cache"]["counts"][change] == 2


def test_kept_latents_are_bounded_and_go_with_the_vae(report: dict[str, Any]) -> None:
    cache = report["cache"]
    assert 0 < cache["bytes"] < cache["limit"] == 256 * 2**20
    assert max(cache["sizes"]) == 3 * 4000  # of six that were kept
    assert cache["kept"] == [0, 4, 5]  # the first was asked for all the time
    assert not cache["too large"]
    assert cache["gone"]


def test_a_second_vae_decodes_and_the_first_encodes(report: dict[str, Any]) -> None:
    decoder = report["decoder"]
    assert decoder["same"] == 0.0  # with equal weights
    assert decoder["calls"] == [0, 0, 1]  # decoded by the first; encoded, decoded by the second


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


def test_a_cancel_between_windows_frees_memory_and_leaves_the_host_usable(report: dict[str, Any]) -> None:
    cancel = report["cancel"]
    assert cancel["ended"] and cancel["windows"] == 1
    assert all(cancel["freed"])
    assert cancel["next"] == 0.0


def test_the_node_says_how_many_prompts_go_together_and_where_takes_begin(report: dict[str, Any]) -> None:
    assert report["notes"][-1] == "2 of 2 prompts at a time. Takes begin at frames 0, 6."
