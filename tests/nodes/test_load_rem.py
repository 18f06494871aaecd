"""LoadREM with a MODEL, inside each ComfyUI found: all weights take effect, the MODEL stays as it was, and what it
carries goes on working."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from comfy_hosts import version_number
from in_comfyui import report_of

FILES = ("rem.safetensors", "delta.safetensors", "lora.safetensors")
ROUNDING = 1e-5  # of float32 outputs around 1, over a few layers
RESULTS = ("whole", *(f"{form} {strength}" for form in ("delta", "lora") for strength in (0.0, 0.5, 1.0)))


@pytest.fixture(scope="module")
def report(host: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tests/nodes/model_in_host.py found in one ComfyUI."""
    return report_of("model_in_host.py", host, tmp_path_factory.mktemp("load_rem"))


@pytest.mark.parametrize("case", RESULTS)
def test_the_denoiser_sees_every_parameter_of_rem(report: dict[str, Any], case: str) -> None:
    found = report["parameters"][case]
    assert not found["missing"]
    assert found["largest"] < 1e-6


@pytest.mark.parametrize("case", RESULTS)
def test_masks_are_those_of_a_bare_forward_with_these_weights(report: dict[str, Any], case: str) -> None:
    found = report["parameters"][case]
    assert found["output"] < ROUNDING
    assert (found["moves"] > 0.1) != case.endswith("0.0")  # strength 0 is the base itself


@pytest.mark.parametrize("file", FILES)
def test_the_given_model_is_bit_identical_before_and_after(report: dict[str, Any], file: str) -> None:
    assert report["original"][file] == {"loaded": True, "unloaded": True, "output": 0.0}


def test_loras_before_and_after_add_to_rem(report: dict[str, Any]) -> None:
    loras = report["loras"]
    assert loras.pop("moves") > 0.1
    assert max(loras.values()) < ROUNDING


def test_a_wrapper_sees_the_call_and_may_change_it(report: dict[str, Any]) -> None:
    wrapper = report["wrapper"]
    assert max(wrapper["before"], wrapper["after"]) < ROUNDING
    assert wrapper["calls"] == 2 * [[[1, 16, 2, 8, 8], [0.0], [1, 77, 4096]]]  # clean latents at t = 0, 77 rows


def test_an_attention_override_is_used(report: dict[str, Any]) -> None:
    assert report["attention"]["output"] < ROUNDING
    assert report["attention"]["calls"] == 2 * 2  # self- and cross-attention of two blocks


def test_a_model_that_was_compiled_runs_rems_weights(report: dict[str, Any]) -> None:
    assert report["compiled"]["own modules"]
    assert report["compiled"]["output"] < ROUNDING


@pytest.mark.parametrize("file", FILES)
def test_loading_in_part_changes_nothing(report: dict[str, Any], file: str) -> None:
    found = report["partial"][file]
    assert found["in part"], "the host loaded the whole MODEL, so nothing was tested"
    assert not found["missing"] and found["largest"] < 1e-6
    assert found["output"] < ROUNDING
    assert found["unloaded"]


def test_a_cancel_inside_the_denoiser_frees_memory_and_leaves_the_model_usable(report: dict[str, Any]) -> None:
    cancel = report["cancel"]
    assert cancel["ended"] and cancel["freed"] == [True]
    assert cancel["next"] < ROUNDING


@pytest.mark.parametrize("state", ["", ", loaded"])
@pytest.mark.parametrize(
    ("over", "fits"),
    [
        ("base", "of_base"),
        ("fp8 base", "of_base"),
        ("base with a LoRA", "of_base"),
        ("REM", "of_rem"),
        ("REM over base", "of_rem"),
        ("delta over base", "of_rem"),
        ("delta over fp8 base", "of_rem"),
    ],
)
def test_a_delta_goes_over_what_it_was_made_over_alone(
    report: dict[str, Any], over: str, fits: str, state: str
) -> None:
    for file in ("of_base", "of_rem"):
        answer = report["bases"][f"{file}.safetensors {over}{state}"]
        if file == fits:
            assert answer == "no error"
        else:
            assert f"{file}.safetensors was made over {file}.safetensors, and the model it is laid over is" in answer


@pytest.mark.parametrize("kind", ["fp8", "scaled"])
def test_whole_weights_over_fp8_are_exact(report: dict[str, Any], kind: str) -> None:
    found = report["quantised"][kind]
    assert found["itself"] > 0.02  # what fp8 costs, so that the next line says something
    assert found["rem.safetensors"] < ROUNDING
    assert found["unchanged"]


@pytest.mark.parametrize("kind", ["fp8", "scaled"])
@pytest.mark.parametrize("file", FILES[1:])
def test_a_difference_over_fp8_warns_of_the_error_it_has(report: dict[str, Any], kind: str, file: str) -> None:
    assert 0.07 < report["quantised"][kind][file] < 0.085
    shown = report["quantised"]["shown"]
    assert len(shown) == 4  # two files over two MODELs, whole weights without a word
    assert all("(fp8)" in text and "an error of about 8 %" in text for text in shown)


def test_a_scaled_fp8_file_stays_fp8(report: dict[str, Any]) -> None:
    assert report["quantised"]["file"]["kept"]
    assert 0.02 < report["quantised"]["file"]["output"] < 0.06


@pytest.mark.parametrize(
    ("file", "error"),
    [
        ("int8.safetensors", 0.01),
        ("int8_diffusers.safetensors", 0.01),
        ("fp8_diffusers.safetensors", 0.035),
        ("packed.gguf", 0.008),
    ],
)
def test_files_in_eight_bits_are_loaded_as_the_host_can(
    host: Path, report: dict[str, Any], file: str, error: float
) -> None:
    found = report["eight bits"][file]
    assert 0.002 < found["output"] < error
    knows_int8 = version_number(host) >= (0, 28)
    assert found["kept"] == (file.startswith("fp8") or (file.startswith("int8") and knows_int8))
    # What the host multiplies out itself it may do in 16 bits.
    assert found["multiplied out"] < (0.005 if found["kept"] and file.startswith("int8") else ROUNDING)


def test_int8_goes_over_a_model_and_takes_a_delta(report: dict[str, Any]) -> None:
    assert report["eight bits"]["int8 over a MODEL"] < ROUNDING
    assert report["eight bits"]["delta over int8"] < 0.015


def test_what_a_cpu_has_no_memory_for_is_refused_before_it_is_loaded(report: dict[str, Any]) -> None:
    said = report["too large"]
    assert "rem_14b.safetensors is Wan2.1 14B, whose weights ComfyUI keeps in float32 on a CPU" in said
    assert "takes 57.2 GB of memory, and 40.0 GB are free" in said
    assert said.endswith("python -m rem_engine segment --memory stream.")


@pytest.mark.parametrize("kind", ["loha", "lokr"])
def test_lycoris_changes_are_laid_over(report: dict[str, Any], kind: str) -> None:
    assert report["lycoris"][kind] < ROUNDING
    assert report["lycoris"][f"{kind} moves"] > 1000 * ROUNDING


def test_a_wrapped_scaled_fp8_file_is_read(report: dict[str, Any]) -> None:
    assert 0.02 < report["quantised"]["wrapped"] < 0.06


def test_what_the_model_carries_is_kept(report: dict[str, Any]) -> None:
    for case, found in report["carried"].items():
        assert all(found.values()), (case, found)


def test_as_many_prompts_go_together_as_the_host_has_memory_for(report: dict[str, Any]) -> None:
    assert report["prompts"] == {"cpu": 3, "gpu": 5, "full": 1}


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("delta alone", "LoadREM's model input"),
        ("lora alone", "LoadREM's model input"),
        ("part of whole weights", "the strength is 0.5: set it to 1"),
        ("part of mini", "the strength is 0.5: set it to 1"),
        ("strength", "0 (the base alone) to 1 (REM) is expected"),
        ("other size", "text_embedding.2.weight is [64, 64], and the model has [128, 128]"),
        ("1.3B over this", "this is Wan2.1 1.3B"),
        ("whole over delta", "carries the delta or LoRA delta.safetensors already"),
        ("two denoisers", "convert two.pth:model -o NAME.safetensors takes it out"),
        ("compiled fp8", "connect LoadREM directly to the model loader"),
    ],
)
def test_wrong_combinations_get_one_sentence(report: dict[str, Any], case: str, words: str) -> None:
    answer = report["sentences"][case]
    assert answer.startswith("ValueError: ") and words in answer
    assert "\n" not in answer
