"""`models get` downloads from a hub what was asked for, whole and checked, or says in a sentence why not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_hub import FakeHub, sha256
from progress_log import ProgressLog

from rem_engine.models import KnownModel, download, known_model

ROOT = Path(__file__).parents[3]
VAE = known_model("wan2.1-vae")
CHUNK = 10 * 2**20  # huggingface_hub writes to disk in steps of this
CONTENT = bytes(range(256)) * 4096  # 1 MiB
FOLDER = {
    "model_index.json": b"{}",
    "README.md": b"words",
    "transformer/config.json": b'{"a": 1}',
    "transformer/diffusion_pytorch_model-00001-of-00002.safetensors": CONTENT[:5000],
    "transformer/diffusion_pytorch_model-00002-of-00002.safetensors": CONTENT[5000:9000],
    "transformer/diffusion_pytorch_model.safetensors.index.json": b"{}",
    "vae/config.json": b"{}",
    "vae/diffusion_pytorch_model.bin": CONTENT[:300],
    "vae/diffusion_pytorch_model.fp16.bin": CONTENT[:150],
    "text_encoder/config.json": b"{}",
    "text_encoder/model.safetensors": CONTENT[:700],
    "text_encoder/model.fp16.safetensors": CONTENT[:350],
    "text_encoder/pytorch_model.bin": CONTENT[:700],
    "tokenizer/spiece.model": b"pieces",
    "tokenizer/tokenizer_config.json": b"{}",
    "tokenizer/merges.txt": b"",
}


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub({VAE.repository: {VAE.file: CONTENT, "README.md": b"words"}}).served() as served:
        yield served


def get(hub: FakeHub, folder: Path, model: KnownModel = VAE, file: str | None = None) -> tuple[Path, str]:
    """Download; the path, and everything that was said."""
    log = ProgressLog()
    path = download(model, folder, file=file, endpoint=hub.address, progress=log)
    return path, "\n".join(log.said)


def heed_interrupts() -> None:
    # Whoever runs the tests in the background of a shell has Ctrl-C ignored, and so have their children.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def cli(hub: FakeHub, *arguments: str) -> subprocess.Popen[str]:
    # With the default of ten seconds a busy machine gives a stalled download up and starts anew, before it is stopped.
    settings = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "300"}
    environment = os.environ | settings | {"HF_ENDPOINT": hub.address}
    return subprocess.Popen(
        [sys.executable, "-m", "rem_engine", "models", "get", *arguments],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_interrupts,
    )


def files_in(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_command_puts_the_file_into_comfyuis_folder(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    out, said = cli(hub, VAE.name, "--comfyui", str(tmp_path)).communicate(timeout=120)
    target = tmp_path / "models" / "vae" / "wan_2.1_vae.safetensors"
    assert out.strip() == str(target)
    assert files_in(tmp_path) == {"models/vae/wan_2.1_vae.safetensors": CONTENT}
    assert "Apache-2.0" in said and "1 MB" in said and str(target) in said
    assert said.index("licence") < said.index("Done")


@pytest.mark.slow
def test_an_interrupted_command_goes_on_where_it_stopped(hub: FakeHub, tmp_path: Path) -> None:
    content = CONTENT * 24
    hub.repositories[VAE.repository][VAE.file] = content
    hub.stall[VAE.file] = CHUNK + 4 * 2**20
    first = cli(hub, VAE.name, "--to", str(tmp_path))
    assert hub.stalled.wait(120)
    (part,) = tmp_path.glob(".*.incomplete")
    while part.stat().st_size < CHUNK and first.poll() is None:
        time.sleep(0.01)  # what was sent is on its way to the disk
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 130 and "goes on where it stopped" in said
    assert not (tmp_path / "wan_2.1_vae.safetensors").exists()

    second = cli(hub, VAE.name, "--to", str(tmp_path))
    second.communicate(timeout=120)
    assert second.returncode == 0
    assert hub.ranges(VAE.file) == ["bytes=0-", f"bytes={CHUNK}-"]
    assert files_in(tmp_path) == {"wan_2.1_vae.safetensors": content}


def test_a_connection_that_breaks_is_resumed(hub: FakeHub, tmp_path: Path) -> None:
    content = CONTENT * 12
    hub.repositories[VAE.repository][VAE.file] = content
    hub.cut[VAE.file] = CHUNK + 1000
    path, _ = get(hub, tmp_path)
    assert path.read_bytes() == content
    assert hub.ranges(VAE.file) == ["bytes=0-", f"bytes={CHUNK}-"]


def test_a_damaged_file_is_refused_and_nothing_is_left(hub: FakeHub, tmp_path: Path) -> None:
    hub.corrupt.add(VAE.file)
    with pytest.raises(RuntimeError, match="arrived damaged"):
        get(hub, tmp_path)
    assert files_in(tmp_path) == {}
    hub.corrupt.clear()
    assert get(hub, tmp_path)[0].read_bytes() == CONTENT


@pytest.mark.parametrize("names_only", [False, True])
def test_a_checksum_is_found_in_the_listing_or_in_the_files_headers(
    hub: FakeHub, tmp_path: Path, names_only: bool
) -> None:
    hub.names_only = names_only
    assert "checksums are the published ones" in get(hub, tmp_path)[1]
    hub.corrupt.add(VAE.file)
    with pytest.raises(RuntimeError, match="arrived damaged"):
        get(hub, tmp_path / "again")


def test_what_is_there_is_checked_and_not_downloaded_again(hub: FakeHub, tmp_path: Path) -> None:
    get(hub, tmp_path)
    hub.requests.clear()
    assert "there already" in get(hub, tmp_path)[1]
    assert hub.ranges(VAE.file) == []
    (tmp_path / "wan_2.1_vae.safetensors").write_bytes(b"something else")
    with pytest.raises(RuntimeError, match="is not what Comfy-Org/Wan_2.1_ComfyUI_repackaged publishes"):
        get(hub, tmp_path)
    assert files_in(tmp_path) == {"wan_2.1_vae.safetensors": b"something else"}


def test_a_folder_is_one_set_of_weights_and_appears_when_it_is_whole(hub: FakeHub, tmp_path: Path) -> None:
    model = known_model("wan2.1-t2v-1.3b-diffusers")
    hub.repositories[model.repository] = FOLDER
    hub.corrupt.add("vae/diffusion_pytorch_model.bin")
    with pytest.raises(RuntimeError, match="arrived damaged"):
        get(hub, tmp_path, model)
    assert not (tmp_path / "Wan2.1-T2V-1.3B-Diffusers").exists()

    hub.corrupt.clear()
    hub.requests.clear()
    path, _ = get(hub, tmp_path, model)
    assert path == tmp_path / "Wan2.1-T2V-1.3B-Diffusers"
    unwanted = {"README.md", "text_encoder/pytorch_model.bin"}
    wanted = {name: content for name, content in FOLDER.items() if ".fp16." not in name and name not in unwanted}
    assert files_in(path) == wanted
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert hub.ranges("text_encoder/config.json") == ["bytes=0-"]
    assert hub.ranges("transformer/config.json") == []  # it was whole before


def test_rems_file_is_picked_by_pattern(hub: FakeHub, tmp_path: Path) -> None:
    model = known_model("rem-wan-14b")
    hub.repositories[model.repository] = {"README.md": b"", "REM_Wan14B.pth": CONTENT, "REM_MS.pth": CONTENT[:9]}
    assert get(hub, tmp_path, model)[0].name == "REM_Wan14B.pth"
    assert get(hub, tmp_path, known_model("rem-modelscope"))[0].name == "REM_MS.pth"

    hub.repositories[model.repository]["wan/step_5000.pth"] = CONTENT[:7]
    with pytest.raises(ValueError, match="several files.*REM_Wan14B.pth, wan/step_5000.pth.*--file"):
        get(hub, tmp_path, model)
    path, _ = get(hub, tmp_path, model, "wan/step_5000.pth")
    assert path.name == "rem-wan-14b.pth" and model.matches(path.name)  # else it would not be found again
    with pytest.raises(FileNotFoundError, match="has no file 'else.pth'; it has README.md"):
        get(hub, tmp_path, model, "else.pth")
    hub.repositories[model.repository] = {"README.md": b""}
    with pytest.raises(FileNotFoundError, match="no file for rem-wan-14b any more; it has README.md"):
        get(hub, tmp_path, model)


def test_a_full_disk_is_seen_before_anything_is_downloaded(hub: FakeHub, tmp_path: Path) -> None:
    hub.sizes[VAE.file] = 10**17
    with pytest.raises(RuntimeError, match="free and 100000000.0 GB are needed"):
        get(hub, tmp_path)
    assert hub.ranges(VAE.file) == [] and files_in(tmp_path) == {}


def test_what_has_arrived_needs_no_room_again(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = len(CONTENT) // 2
    part = tmp_path / f".wan_2.1_vae.safetensors.{sha256(CONTENT)[:12]}.incomplete"
    part.write_bytes(CONTENT[:half])
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, half - 1))
    with pytest.raises(RuntimeError, match="are needed"):
        get(hub, tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, half))
    assert get(hub, tmp_path)[0].read_bytes() == CONTENT
    assert hub.ranges(VAE.file) == [f"bytes={half}-"]


def test_a_listing_that_reaches_outside_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    model = known_model("wan2.1-t2v-1.3b-diffusers")
    hub.repositories[model.repository] = {**FOLDER, "vae/../../outside.json": b"{}"}
    with pytest.raises(RuntimeError, match="lies outside"):
        get(hub, tmp_path / "models", model)
    assert files_in(tmp_path) == {}


def test_a_file_is_not_chosen_where_there_is_no_choice(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leave out --file"):
        get(hub, tmp_path, VAE, "README.md")


@pytest.mark.parametrize(
    ("status", "error", "sentence"),
    [
        ((401, "GatedRepo"), RuntimeError, "accept them on its page"),
        ((401, "RepoNotFound"), FileNotFoundError, "The hub has no Comfy-Org/Wan_2.1_ComfyUI_repackaged"),
        ((404, "RepoNotFound"), FileNotFoundError, "The hub has no Comfy-Org/Wan_2.1_ComfyUI_repackaged"),
        ((403, ""), RuntimeError, "HTTP 403"),
        ((500, ""), RuntimeError, "HTTP 500"),
    ],
)
def test_a_refusal_is_a_sentence(
    hub: FakeHub, tmp_path: Path, status: tuple[int, str], error: type[Exception], sentence: str
) -> None:
    hub.status = status
    with pytest.raises(error, match=sentence) as raised:
        get(hub, tmp_path)
    assert "\n" not in str(raised.value)
    assert files_in(tmp_path) == {}


def test_an_absent_repository_and_an_absent_hub_are_sentences(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="The hub has no nobody/nothing"):
        get(hub, tmp_path, replace(VAE, repository="nobody/nothing"))
    hub.address = "http://127.0.0.1:9"
    with pytest.raises(RuntimeError, match="could not be got from the hub .*check the connection") as raised:
        get(hub, tmp_path)
    assert "\n" not in str(raised.value)


def test_offline_mode_is_respected(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    process = cli(hub, VAE.name, "--to", str(tmp_path))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2 and "HF_HUB_OFFLINE is set" in said
    assert hub.requests == []
