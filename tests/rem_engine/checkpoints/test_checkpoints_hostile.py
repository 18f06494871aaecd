"""Files that are damaged or mean harm are refused in a sentence, and run nothing."""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import os
import pickle
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rem_engine.checkpoints import read_state_dict
from rem_engine.checkpoints.safetensors_file import read_metadata


class Calls:
    """Calls a function when it is unpickled by a reader that does what it is told."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


class StateOf:
    """An object that a harmless call makes, and whose state then runs."""

    def __init__(self, harm: Calls) -> None:
        self.harm = harm

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (), {"x": self.harm}


def harms(target: Path) -> dict[str, Any]:
    """Contents of which each, when run, makes the folder `target`."""
    folder = str(target)
    system = Calls(os.system, f"mkdir '{folder}'")
    return {
        "os.mkdir": Calls(os.mkdir, folder),
        "os.system": system,
        "eval": Calls(builtins.eval, f"__import__('os').mkdir({folder!r})"),
        "exec": Calls(builtins.exec, f"import os; os.mkdir({folder!r})"),
        "in the arguments": {"model_state": {"a": torch.zeros(1)}, "args": system},
        "in place of a tensor": {"model_state": {"a": torch.zeros(1), "b": system}},
        "in a tensor's rebuilding": {"model_state": {"a": Calls(torch._utils._rebuild_parameter, system, False, {})}},
        "in an object array": {"model_state": {"a": torch.zeros(1)}, "args": np.array([system], dtype=object)},
        "in a state": {"model_state": {"a": torch.zeros(1)}, "optimizer": StateOf(system)},
        "an attribute of an attribute": Calls(getattr(os, "system"), f"mkdir '{folder}'"),  # noqa: B009
        "torch's own loader": Calls(torch.hub.load_state_dict_from_url, "file:///nothing", folder),
    }


NAMES = list(harms(Path("x")))


@pytest.mark.parametrize("form", ["zip", "before 1.6", "plain pickle"])
@pytest.mark.parametrize("harm", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path: Path, harm: str, form: str) -> None:
    path, target = tmp_path / "hostile.pth", tmp_path / "it ran"
    content = harms(target)[harm]
    if form == "plain pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(
        ValueError, match=r"hostile\.pth (was not read: beyond weights it asks for|is damaged)"
    ) as refused:
        read_state_dict(path)
    assert "\n" not in str(refused.value)
    assert not target.exists()
    if harm != "torch's own loader":
        with contextlib.suppress(Exception):  # it may fail, once it has run
            torch.load(path, weights_only=False)
        assert target.exists()  # the file was hostile indeed


def test_a_hostile_pickle_says_what_it_asks_for(tmp_path: Path) -> None:
    torch.save(Calls(os.system, "true"), tmp_path / "hostile.pth")
    with pytest.raises(ValueError, match=r"asks for (posix|nt)\.system, which could run code when loaded"):
        read_state_dict(tmp_path / "hostile.pth")


def test_the_trainers_arguments_are_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is allowed beside weights is made of nothing that has code of its own."""
    from argparse import Namespace

    content = {"model_state": {"a": torch.ones(2)}, "args": Namespace(lr=np.float64(1e-5), steps=np.int64(3))}
    torch.save(content, tmp_path / "rem.pth")
    made = []
    monkeypatch.setattr(Namespace, "__init__", lambda *given, **named: made.append(given))
    assert read_state_dict(tmp_path / "rem.pth")["a"].tolist() == [1, 1]
    assert not made


def test_a_tar_is_told(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "old.pth", "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            data = pickle.dumps(Calls(os.mkdir, str(tmp_path / "it ran")))
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    with pytest.raises(ValueError, match=r"old\.pth is in the tar format"):
        read_state_dict(tmp_path / "old.pth")
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_damaged_files_are_told(tmp_path: Path, golden: Path, suffix: str) -> None:
    empty, text, cut = (tmp_path / f"{name}{suffix}" for name in ("empty", "text", "cut"))
    empty.write_bytes(b"")
    text.write_text("404: Not Found")
    base = golden / "wan" / "base" / "vae" / "diffusion_pytorch_model.safetensors"
    source = golden / "wan" / "rem_wan.pth" if suffix == ".pth" else base
    cut.write_bytes(source.read_bytes()[:100_000])
    for path in (empty, text, cut):
        with pytest.raises(ValueError, match=f"{path.name} is damaged or not a"):
            read_state_dict(path)


def test_a_zip_whose_data_are_missing_is_told(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "whole.pth")
    with zipfile.ZipFile(tmp_path / "whole.pth") as whole, zipfile.ZipFile(tmp_path / "part.pth", "w") as part:
        for name in whole.namelist():
            if "/data/" not in name:
                part.writestr(name, whole.read(name))
    with pytest.raises(ValueError, match=r"part\.pth is damaged or not a PyTorch checkpoint"):
        read_state_dict(tmp_path / "part.pth")


def entry(begin: int, end: int, shape: list[int] | None = None, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ({"a": entry(0, 8), "b": entry(4, 12)}, 12),  # overlapping
        ({"a": entry(0, 8), "b": entry(0, 8)}, 8),  # in the same place
        ({"a": entry(0, 8), "b": entry(12, 16)}, 16),  # a hole
        ({"a": entry(0, 8)}, 4),  # cut short
        ({"a": entry(0, 8)}, 12),  # more than it says
        ({"a": entry(0, 8, [3])}, 8),  # shape and size differ
        ({"a": entry(0, 8, [-1, -2])}, 8),
        ({"a": entry(-8, 0)}, 8),
        ({"a": {"dtype": "F32", "shape": [2]}}, 8),
        ({"a": 3}, 8),
        ([], 0),
        ("no header at all", 0),
        (f'{{"a": {json.dumps(entry(0, 8))}, "a": {json.dumps(entry(8, 16))}}}', 16),  # named twice
    ],
)
def test_a_safetensors_header_that_contradicts_itself_is_told(tmp_path: Path, header: Any, size: int) -> None:
    path = tmp_path / "bad.safetensors"
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))
    with pytest.raises(ValueError, match=r"bad\.safetensors is damaged or not a safetensors file") as refused:
        read_state_dict(path)
    assert "\n" not in str(refused.value)


def test_a_header_longer_than_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "long.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    with pytest.raises(ValueError, match="it has no header"):
        read_state_dict(tmp_path / "long.safetensors")


def test_what_the_host_has_allowed_does_not_come_in_between(tmp_path: Path) -> None:
    path = tmp_path / "rem.pth"
    torch.save({"model_state": {"a.weight": torch.ones(2)}, "args": np.float64(0.5)}, path)
    # As ComfyUI does, under every name the file asks for; a set's order decides between two of one name, so try many.
    before = torch.serialization.get_safe_globals()
    for _ in range(20):
        theirs = [(type("Refuses", (), {}), name) for name in ("numpy._core.multiarray.scalar", "numpy.dtype")]
        torch.serialization.add_safe_globals(theirs)
        try:
            assert list(read_state_dict(path)) == ["a.weight"]
            assert set(theirs) <= set(torch.serialization.get_safe_globals())
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(before)


def test_a_compressed_member_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "whole.pth")
    with (
        zipfile.ZipFile(tmp_path / "whole.pth") as whole,
        zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    with pytest.raises(ValueError, match=r"packed\.pth was not read: .* is compressed"):
        read_state_dict(tmp_path / "packed.pth")


def test_a_list_of_millions_of_things_is_refused_before_they_are_made(tmp_path: Path) -> None:
    """A byte of a pickle makes an object of 64, and a real one takes a few hundred kilobytes."""
    path = tmp_path / "long.pth"
    torch.save({"a": torch.zeros(1000)}, tmp_path / "whole.pth")
    with zipfile.ZipFile(tmp_path / "whole.pth") as whole, zipfile.ZipFile(path, "w") as long:
        for name in whole.namelist():
            data = whole.read(name)
            long.writestr(name, b"\x80\x02" + b"}" * 17_000_000 + b"." if name.endswith("data.pkl") else data)
    start = time.perf_counter()
    with pytest.raises(
        ValueError, match=r"long\.pth was not read: .*/data\.pkl, .* has 17 MB, and up to 16 MB are read"
    ):
        read_state_dict(path)
    assert time.perf_counter() - start < 5  # to read it takes a minute


def test_an_old_file_that_lists_more_than_any_models_is_left_before_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rem_engine.checkpoints.pickle_file._PICKLE_LIMIT", 100_000)
    path, weights = tmp_path / "old.pth", {"w": torch.arange(100_000.0)}
    torch.save(weights, path, _use_new_zipfile_serialization=False)
    assert path.stat().st_size > 400_000  # numbers do not count
    assert torch.equal(read_state_dict(path)["w"], weights["w"])
    torch.save({**weights, "steps": list(range(300, 100_000))}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"old\.pth was not read: what lists its weights is longer than 100000 bytes"):
        read_state_dict(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_tensor_that_repeats_its_storage_does_not_grow_to_its_nominal_size(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "small.pth"
    content = {"a": torch.zeros(1).expand(1 << 30), "b": torch.ones(2)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert path.stat().st_size < 10_000
    with pytest.raises(ValueError, match=r"small\.pth was not read: a tensor of \[1073741824\] in it repeats 4 bytes"):
        read_state_dict(path)


def test_an_expanded_row_of_positions_is_read(tmp_path: Path) -> None:
    torch.save({"ids": torch.arange(77).expand(3, -1)}, tmp_path / "clip.pth")
    assert read_state_dict(tmp_path / "clip.pth")["ids"].tolist() == [list(range(77))] * 3


def test_a_header_larger_than_any_models_is_refused_unparsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.safetensors"
    text = json.dumps({"a": entry(0, 8)}).encode().ljust(17_000_000)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("parsed"))
    with pytest.raises(ValueError, match=r"large\.safetensors is damaged .*its header takes \d\d MB"):
        read_state_dict(path)


@pytest.mark.parametrize("metadata", [[], "text", 3, None])
def test_metadata_that_are_no_object_are_told(tmp_path: Path, metadata: Any) -> None:
    path = tmp_path / "odd.safetensors"
    text = json.dumps({"__metadata__": metadata, "a": entry(0, 8)}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    for read in (read_state_dict, read_metadata):
        with pytest.raises(ValueError, match=r"odd\.safetensors is damaged or not a safetensors file"):
            read(path)
