"""`models` knows weights, finds them where ComfyUI would, and says which file goes where."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from comfy_hosts import host_python

from rem_engine.commands.cli import main
from rem_engine.models import (
    CATALOGUE,
    destination_folder,
    find,
    find_comfyui,
    known_model,
    missing_base,
    missing_checkpoint,
    missing_model,
    missing_text_encoder,
    missing_vae,
    model_folders,
)
from rem_engine.models import catalogue as constants

ROOT = Path(__file__).parents[3]
EXTRA_PATHS = """\
studio:
    base_path: ../store
    is_default: true
    diffusion_models: |
        models/diffusion_models
        models/unet
    clip: encoders
    rem: rem
other:
    base_path: {absolute}
    vae: |
        vae

        more/vae
    unet: models/unet
    loras: loras
relative:
    vae: near
nothing:
"""


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    """A ComfyUI with a shared store of models beside it."""
    folder = tmp_path / "ComfyUI"
    (folder / "models").mkdir(parents=True)
    (folder / "extra_model_paths.yaml").write_text(EXTRA_PATHS.format(absolute=tmp_path / "absolute"))
    return folder


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hugging Face hub in the place of this machine's."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"weights")
    return file


# ---- the catalogue


def test_parameters_are_those_of_the_architectures() -> None:
    from diffusers import AutoencoderKLWan, UNet3DConditionModel, WanTransformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

    def count(network: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in network.parameters())

    with torch.device("meta"):
        large = WanTransformer3DModel(num_attention_heads=40, num_layers=40, ffn_dim=13824)
        small = WanTransformer3DModel(num_attention_heads=12, num_layers=30, ffn_dim=8960)
        umt5 = UMT5Config(vocab_size=256384, d_model=4096, d_ff=10240, num_layers=24, num_heads=64)
        assert count(large) == constants.WAN_14B_PARAMETERS
        assert count(small) == constants.WAN_1_3B_PARAMETERS
        assert count(AutoencoderKLWan()) == constants.WAN_VAE_PARAMETERS
        assert count(UMT5EncoderModel(umt5)) == constants.UMT5_XXL_PARAMETERS
        unet = UNet3DConditionModel(cross_attention_dim=1024, attention_head_dim=64)
        assert count(unet) == constants.MODELSCOPE_UNET_PARAMETERS


def test_published_sizes_are_the_parameters_and_a_header() -> None:
    """The files whose size is known hold the network in the number type of their name."""
    sizes = {model.name: model.size for model in CATALOGUE if model.size_source == "published"}
    assert set(sizes) == {"wan2.1-t2v-1.3b-fp16", "umt5-xxl-fp8", "umt5-xxl-fp16", "wan2.1-vae"}
    assert sizes["wan2.1-t2v-1.3b-fp16"] == pytest.approx(constants.WAN_1_3B_PARAMETERS * 2, rel=1e-3)
    assert sizes["umt5-xxl-fp16"] == pytest.approx(constants.UMT5_XXL_PARAMETERS * 2, rel=1e-3)
    assert sizes["wan2.1-vae"] == pytest.approx(constants.WAN_VAE_PARAMETERS * 2, rel=1e-3)
    embedding = 256384 * 4096  # stays in 16 bits
    assert sizes["umt5-xxl-fp8"] == pytest.approx(constants.UMT5_XXL_PARAMETERS + embedding, rel=2e-3)


def test_names_are_unique_and_a_wrong_one_is_answered_with_near_ones() -> None:
    names = [model.name for model in CATALOGUE]
    assert len(set(names)) == len(names)
    with pytest.raises(ValueError, match="No model is called 'umt5-xxl'; did you mean umt5-xxl-fp8 or umt5-xxl-fp16"):
        known_model("umt5-xxl")


@pytest.mark.parametrize("page", ["README.md", "docs/using-the-real-weights.md"])
def test_the_documentation_gets_models_that_exist(page: str) -> None:
    names = re.findall(r"models get ([a-z][\w.-]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert names
    for name in names:
        known_model(name)


# ---- folders


def test_folders_are_those_comfyui_searches(host: Path, comfyui: Path) -> None:
    code = """
import json, sys
base, sys.argv = sys.argv[1], ["main.py", "--cpu", "--base-directory", sys.argv[1]]
import comfy.options
comfy.options.enable_args_parsing()
import folder_paths, utils.extra_config
utils.extra_config.load_extra_path_config(base + "/extra_model_paths.yaml")
print(json.dumps({name: paths for name, (paths, _) in folder_paths.folder_names_and_paths.items()}))
"""
    run = subprocess.run(
        [host_python(host), "-c", code, str(comfyui)], cwd=host, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr[-2000:]
    expected = json.loads(run.stdout.splitlines()[-1])
    found = model_folders(comfyui)
    for name in ("diffusion_models", "text_encoders", "vae", "diffusers", "loras"):
        listed = {str(path) for path in found[name]}
        # ComfyUI lists its own models/loras, which nothing here belongs to.
        assert listed == set(expected[name]) - {str(comfyui / "models" / "loras")}, name
    assert {str(path) for path in found["rem"]} == {*expected["rem"], str(comfyui / "models" / "rem")}
    for name in ("diffusion_models", "text_encoders", "rem"):  # is_default: new files go there
        assert str(found[name][0]) == expected[name][0]


def test_new_files_go_into_the_folder_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    folders = model_folders(tmp_path)
    for model in CATALOGUE:
        assert destination_folder(model, folders, None) == tmp_path / "models" / model.folder
        assert destination_folder(model, folders, tmp_path / "here") == tmp_path / "here"
    with pytest.raises(ValueError, match="--to DIR, or where ComfyUI is with --comfyui DIR"):
        destination_folder(CATALOGUE[0], None, None)


@pytest.mark.parametrize("text", ["a: [", "- a", "a: b", "a:\n  vae: 3"])
def test_an_unreadable_extra_model_paths_is_named(comfyui: Path, text: str) -> None:
    (comfyui / "extra_model_paths.yaml").write_text(text)
    with pytest.raises(ValueError, match="extra_model_paths.yaml cannot be read") as raised:
        model_folders(comfyui)
    assert "\n" not in str(raised.value)


def test_an_extra_model_paths_of_comments_adds_nothing(comfyui: Path) -> None:
    (comfyui / "extra_model_paths.yaml").write_text("# nothing\n")
    assert model_folders(comfyui)["vae"] == [comfyui / "models" / "vae"]


def test_comfyui_is_looked_for_where_it_is_said_to_be(
    comfyui: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert find_comfyui() is None
    assert find_comfyui(comfyui) == comfyui
    (tmp_path / "home" / "ComfyUI" / "models").mkdir(parents=True)
    assert find_comfyui() == tmp_path / "home" / "ComfyUI"
    monkeypatch.setenv("COMFYUI_PATH", os.pathsep.join([str(comfyui), str(tmp_path)]))
    assert find_comfyui() == comfyui
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match="no ComfyUI at .*absent .from COMFYUI_PATH"):
        find_comfyui()
    with pytest.raises(FileNotFoundError, match="no ComfyUI at"):
        find_comfyui(tmp_path)


# ---- finding


def test_files_are_found_in_every_folder_and_below(comfyui: Path, tmp_path: Path) -> None:
    vae = known_model("wan2.1-vae")
    near = put(comfyui / "near" / "deep" / "wan_2.1_vae.safetensors")
    far = put(tmp_path / "absolute" / "more" / "vae" / "wan_2.1_vae.safetensors")
    put(comfyui / "models" / "vae" / ".wan_2.1_vae.safetensors.abc.incomplete")
    put(comfyui / "models" / "vae" / "wan_2.1_vae.safetensors.part")
    assert set(find(vae, model_folders(comfyui))) == {near, far}


def test_rem_files_are_told_apart_by_their_names(comfyui: Path) -> None:
    wan = put(comfyui / "models" / "rem" / "REM_Wan_14B.safetensors")
    modelscope = put(comfyui / "models" / "rem" / "rem_ms.pth")
    put(comfyui / "models" / "rem" / "wan notes.txt")
    folders = model_folders(comfyui)
    assert find(known_model("rem-wan-14b"), folders) == [wan]
    assert find(known_model("rem-modelscope"), folders) == [modelscope]


def test_folders_count_when_every_component_is_there(comfyui: Path) -> None:
    model = known_model("wan2.1-t2v-14b-diffusers")
    folder = comfyui / "models" / "diffusers" / "Wan2.1-T2V-14B-Diffusers"
    for component in model.components:
        assert find(model, model_folders(comfyui)) == []
        put(folder / component / "config.json")
    assert find(model, model_folders(comfyui)) == [folder]


def test_folders_in_the_hubs_cache_are_found(comfyui: Path, hub_cache: Path) -> None:
    model = known_model("wan2.1-t2v-14b-diffusers")
    cached = hub_cache / "models--Wan-AI--Wan2.1-T2V-14B-Diffusers"
    put(cached / "refs" / "main").write_text("abc")
    snapshot = cached / "snapshots" / "abc"
    put(snapshot / "model_index.json")
    assert find(model, model_folders(comfyui)) == []
    for component in model.components:
        put(snapshot / component / "config.json")
    assert find(model, model_folders(comfyui)) == [snapshot]


# ---- the command


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["models", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_list_says_what_where_and_whether(
    comfyui: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vae = put(comfyui / "models" / "vae" / "wan_2.1_vae.safetensors")
    answer = listed(capsys, "--comfyui", str(comfyui))
    assert answer["comfyui"] == str(comfyui)
    rows = {row["name"]: row for row in answer["models"]}
    assert rows["wan2.1-vae"]["found"] == [str(vae)]
    assert rows["umt5-xxl-fp8"]["found"] == []
    assert rows["rem-wan-14b"]["destination"] == str(tmp_path / "store" / "rem")
    repositories = {row["repository"] for row in rows.values()}
    assert repositories == {
        "anuragba/refereverything",
        "Comfy-Org/Wan_2.1_ComfyUI_repackaged",
        "Wan-AI/Wan2.1-T2V-14B-Diffusers",
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        "ali-vilab/text-to-video-ms-1.7b",
    }
    assert all(row["licence"] and row["purpose"] and row["size_bytes"] > 0 for row in rows.values())

    assert main(["models", "--comfyui", str(comfyui)]) == 0
    table = capsys.readouterr().out
    assert all(row["name"] in table and row["purpose"] in table for row in rows.values())
    assert str(vae) in table and max(len(line) for line in table.splitlines() if "/" not in line) <= 110


def test_the_list_needs_no_comfyui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    answer = listed(capsys)
    assert answer["comfyui"] is None and not any(row["found"] for row in answer["models"])
    assert main(["models"]) == 0
    assert "No ComfyUI was found" in capsys.readouterr().out


def test_the_list_touches_no_network_and_loads_no_torch(comfyui: Path) -> None:
    code = """
import socket, sys
def refuse(*_): raise AssertionError("network")
socket.socket.connect = socket.getaddrinfo = refuse
from rem_engine.commands.cli import main
assert main(["models", "--comfyui", sys.argv[1]]) == 0
assert "torch" not in sys.modules and "diffusers" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, str(comfyui)], cwd=ROOT, check=True, capture_output=True, timeout=120)


def test_get_without_a_place_to_put_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert main(["models", "get", "wan2.1-vae"]) == 2
    assert "--to DIR" in capsys.readouterr().err
    assert main(["models", "get", "wan2.1-vea", "--to", str(tmp_path)]) == 2
    assert "did you mean wan2.1-vae" in capsys.readouterr().err


# ---- sentences


def test_sentences_name_the_file_its_folders_and_where_it_comes_from(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for sentence, file, get in (
        (missing_text_encoder("rem.pth", folders), "umt5_xxl_fp8_e4m3fn_scaled.safetensors", "umt5-xxl-fp8"),
        (missing_vae("rem.pth", folders), "wan_2.1_vae.safetensors", "wan2.1-vae"),
        (missing_base("rem.pth", folders), "wan2.1_t2v_14B_bf16.safetensors", "wan2.1-t2v-14b-bf16"),
    ):
        assert sentence.startswith("rem.pth ") and file in sentence and "\n" not in sentence
        assert f"{folders[0]} or {folders[1]}" in sentence
        assert f"models get {get}" in sentence and "Comfy-Org/Wan_2.1_ComfyUI_repackaged" in sentence
    checkpoint = missing_checkpoint("absent.pth", folders)
    assert "There is no checkpoint 'absent.pth'" in checkpoint and str(folders[0]) in checkpoint
    assert "anuragba/refereverything" in checkpoint
    model = missing_model("Wan")
    assert "There is no model 'Wan'" in model and "wan2.1-t2v-14b-diffusers" in model


def test_sentences_point_to_what_is_there(tmp_path: Path) -> None:
    put(tmp_path / "sub" / "wan_2.1_vae.safetensors")
    assert missing_vae("rem.pth", [tmp_path]) == (
        "rem.pth comes without a VAE: load wan_2.1_vae.safetensors with Load VAE and connect it to LoadREM's vae input."
    )
    put(tmp_path / "rem_wan.safetensors")
    assert "or choose 'rem_wan.safetensors', which is there," in missing_checkpoint("x", [tmp_path])


def test_who_lacks_the_checkpoint_of_one_model_is_not_sent_for_the_other(tmp_path: Path) -> None:
    small, large = "models get rem-modelscope`, 5.6 GB", "models get rem-wan-14b`, 28.6 GB"
    put(tmp_path / "rem_wan.safetensors")
    modelscope = missing_checkpoint("rem_modelscope.safetensors", [tmp_path])
    assert small in modelscope and "wan" not in modelscope
    wan = missing_checkpoint("old/rem_wan_14b.pth", [tmp_path])
    assert large in wan and "modelscope" not in wan and "'rem_wan.safetensors', which is there," in wan
    either = missing_checkpoint("mine.safetensors", [tmp_path])
    assert small in either and large in either
