"""REM on ModelScope inside each ComfyUI found: the engine's masks from the same nodes, and memory given back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from in_comfyui import report_of


@pytest.fixture(scope="module")
def report(host: Path, tmp_path_factory: pytest.TempPathFactory, golden: Path) -> dict[str, Any]:
    """What tests/nodes/modelscope_in_host.py found in one ComfyUI."""
    return report_of("modelscope_in_host.py", host, tmp_path_factory.mktemp("modelscope"), golden)


def test_the_hosts_model_keeps_the_contract_of_a_backbone(report: dict[str, Any]) -> None:
    assert report["broken"] == []


@pytest.mark.parametrize("protocol", ["shot", "paper"])
def test_masks_are_the_engines(report: dict[str, Any], protocol: str) -> None:
    assert max(report["difference"][protocol]) < 1e-3


def test_the_seed_is_the_command_lines(report: dict[str, Any]) -> None:
    assert max(report["seed"]) < 1e-3
    assert report["seeds differ"] > 0.01


def test_a_model_state_brings_its_unet_and_its_vae(report: dict[str, Any]) -> None:
    unet, vae = report["model_state"]
    assert unet == 0.0
    assert vae < 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_unet_computes_in_what_it_is_stored_in_and_on_a_cpu_in_float32(report: dict[str, Any], dtype: str) -> None:
    assert report["precision"][f"{dtype} on a GPU"] == f"torch.{dtype}"
    assert report["precision"][f"{dtype} on a CPU"] == "torch.float32"


def test_a_delta_and_a_lora_are_laid_over_the_base_folder(report: dict[str, Any]) -> None:
    changes = report["changes"]
    assert changes["delta"] < 1e-6 < 0.5 < changes["base"]
    assert changes["half a LoRA"] < 1e-6 < 0.5 < changes["LoRA less REM"]


def test_the_hosts_own_lora_loader_gives_the_same_weights(report: dict[str, Any]) -> None:
    changes = report["changes"]
    assert changes["stock delta"] < 1e-6
    assert changes["half a stock LoRA"] < 1e-6
    assert changes["base afterwards"] == 0.0


def test_a_node_for_the_hosts_own_models_says_what_the_model_is(report: dict[str, Any]) -> None:
    for node, missing in (("sampler", "latent_format"), ("FreeU", "model_channels")):
        _, _, said = report["changes"][node].partition(": ")
        assert said.startswith(f"The MODEL is REM on ModelScope, which has no {missing}:")
        assert said.endswith("Connect it to SegmentVideo; only LoRA loaders may come between.")


def test_a_cancel_inside_a_pass_ends_it_and_leaves_the_model_usable(report: dict[str, Any]) -> None:
    assert report["cancel"] == {"ended": True, "whole passes": 0, "next": 0.0}


def test_the_parts_are_the_hosts_own_types(report: dict[str, Any]) -> None:
    assert report["types"] == ["comfy.model_patcher.ModelPatcher", "comfy.sd.CLIP", "comfy.sd.VAE"]


def test_memory_is_given_back_after_a_run_and_after_an_error(report: dict[str, Any]) -> None:
    memory = report["memory"]
    assert memory["error"] == "no more of this"
    # Held as long as nobody needs the room, and then let go of.
    assert memory["after a run"] == memory["after an error"] == [True, False]
    assert memory["works again"]
    assert report["let go"] == [True, True]


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
