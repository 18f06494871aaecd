"""REM on ModelScope inside each ComfyUI found: the engine's masks from the same nodes, and memory given back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from comfy_hosts import host_params
from in_comfyui import report_of


@pytest.fixture(scope="module", params=host_params())
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, golden: Path) -> dict[str, Any]:
    """What tests/nodes/modelscope_in_host.py found in one ComfyUI."""
    return report_of("modelscope_in_host.py", request.param, tmp_path_factory.mktemp("modelscope"), golden)


@pytest.mark.parametrize("protocol", ["shot", "paper"])
def test_masks_are_the_engines(report: dict[str, Any], protocol: str) -> None:
    assert max(report["difference"][protocol]) < 1e-3


def test_the_parts_are_the_hosts_own_types(report: dict[str, Any]) -> None:
    assert report["types"] == ["comfy.model_patcher.ModelPatcher", "comfy.sd.CLIP", "comfy.sd.VAE"]


def test_frames_encoded_before_are_not_encoded_again(report: dict[str, Any]) -> None:
    assert report["cached"] == 0


def test_memory_is_given_back_after_a_run_and_after_an_error(report: dict[str, Any]) -> None:
    memory = report["memory"]
    assert memory["error"] == "no more of this"
    # Held as long as nobody needs the room, and then let go of.
    assert memory["after a run"] == memory["after an error"] == [True, False]
    assert memory["works again"]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("a MODEL beside it", "disconnect LoadREM's model input"),
        ("strength", "the strength is 0.5: set it to 1"),
        ("Wan's VAE", "The VAE is a WanVAE, and REM on ModelScope works with Stable Diffusion's"),
        ("Wan's CLIP", "is 4096 wide and the model reads text 32 wide"),
        ("its VAE for Wan", "and REM works with Wan2.1's"),
    ],
)
def test_wrong_combinations_get_one_sentence(report: dict[str, Any], case: str, words: str) -> None:
    answer = report["sentences"][case]
    assert answer.startswith("ValueError: ") and words in answer
    assert "\n" not in answer


def test_a_missing_base_says_which_folder_goes_where(report: dict[str, Any]) -> None:
    answer = report["without base"]
    assert answer.startswith("FileNotFoundError: ")
    assert "put the folder text-to-video-ms-1.7b (unet, vae, text_encoder, tokenizer, scheduler) into" in answer
    assert "diffusers" in answer
