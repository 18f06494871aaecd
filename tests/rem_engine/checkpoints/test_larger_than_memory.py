"""Files larger than memory open: mapped, or read a tensor and a piece at a time."""

from __future__ import annotations

import json
import multiprocessing
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rem_engine.backbones.checkpoint import open_checkpoint
from rem_engine.checkpoints import describe, read_state_dict
from rem_engine.checkpoints.architecture import text_to_video_shapes
from rem_engine.checkpoints.convert import Conversion, convert

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sparse files and limits of memory as Linux has them")

_ROOM = 2**30  # bytes beyond what the process has
_SOME = 100_000_000  # bytes
_LAST, _LAST_VALUE = "head.modulation", 1.5


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wan2.1 14B in bfloat16, all zeros but for the last number, in a file of 28.6 GB that takes no disk."""
    sizes = {"patch_embedding.weight": torch.empty(5120, 16, 1, 2, 2, device="meta")}
    sizes["blocks.0.ffn.0.weight"] = torch.empty(13824, 5120, device="meta")
    shapes = text_to_video_shapes(sizes)
    header, end = {}, 0
    for name, shape in sorted(shapes.items(), key=lambda item: item[0] == _LAST):
        start, end = end, end + 2 * torch.Size(shape).numel()
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = tmp_path_factory.mktemp("sparse") / "rem_14b.safetensors"
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.seek(end - 2, 1)
        file.write(torch.tensor([_LAST_VALUE], dtype=torch.bfloat16).view(torch.uint8).numpy().tobytes())
    assert path.stat().st_size > 28.5e9
    assert path.stat().st_blocks * 512 < 1e6
    return path


def test_they_are_mapped_where_a_private_map_is_refused(sparse: Path) -> None:
    def body() -> None:
        with pytest.raises(RuntimeError, match="mmap"):  # what refuses them, so that the next line says something
            torch.UntypedStorage.from_file(str(sparse), shared=False, nbytes=sparse.stat().st_size)
        weights = read_state_dict(sparse)
        assert describe(weights) == "Wan2.1 14B"
        assert weights[_LAST].flatten()[-1] == _LAST_VALUE
        assert not weights["blocks.39.ffn.2.weight"].any()

    _within("RLIMIT_DATA", "VmData", body)


def test_they_are_read_and_converted_in_an_address_space_that_no_map_of_them_fits_into(
    sparse: Path, tmp_path: Path
) -> None:
    def body() -> None:
        with pytest.raises(RuntimeError, match=r"28\.6 GB cannot be mapped into memory .*ulimit -v"):
            read_state_dict(sparse)
        weights = open_checkpoint(sparse).denoiser
        assert weights[_LAST].read().flatten()[-1] == _LAST_VALUE
        assert not weights["blocks.39.ffn.2.weight"].read().any()
        conversion = Conversion(sparse, tmp_path / "delta.safetensors", form="delta", base=sparse)
        with pytest.raises(KeyboardInterrupt, match="nothing was written"):
            convert(conversion, _Stopping())
        assert not list(tmp_path.iterdir())

    _within("RLIMIT_AS", "VmSize", body)


class _Stopping:
    """Progress that is interrupted once some of a file was read."""

    def update(self, what: str, done: int, total: int) -> None:
        assert total > 28.5e9
        if done > _SOME:
            raise KeyboardInterrupt


def _within(limit: str, figure: str, body: Callable[[], None]) -> None:
    """Run something in a process whose memory, as Linux counts it, may grow by little."""

    def run() -> None:
        import resource

        try:
            lines = Path("/proc/self/status").read_text().splitlines()
            now = 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{figure}:"))
            resource.setrlimit(getattr(resource, limit), (now + _ROOM, now + _ROOM))
            body()
            told.put("")
        except BaseException:
            told.put(traceback.format_exc())

    fork = multiprocessing.get_context("fork")
    told = fork.SimpleQueue()
    process = fork.Process(target=run)
    process.start()
    process.join(120)
    assert process.exitcode == 0, process.exitcode
    assert told.get() == ""
