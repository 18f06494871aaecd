"""A host that was started with --disable-metadata: no file holds the graph, and none lies beside."""

from __future__ import annotations

from pathlib import Path

import av
import OpenEXR
import pytest
from comfy_hosts import make_base
from comfy_server import running
from small_video import disc_video, write_lossless
from test_batch import ended_well, graph_of

pytestmark = pytest.mark.slow


def test_files_are_written_without_the_graph(host: Path, tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    write_lossless(base / "input" / "shot.mp4", disc_video())
    with running(host, base, "--disable-metadata") as server:
        graph = graph_of("", "plain/shot", path="shot.mp4", also="prores")
        folder, _ = ended_well(server, graph)
        batch, _ = ended_well(server, graph_of("shot.mp4", "plain/batch"))
        again, said = ended_well(server, graph_of("shot.mp4", "plain/batch"))
    assert not [*folder.parent.rglob("workflow.json")]
    exr, mov = min((folder / "exr").iterdir()), next(folder.rglob("*.mov"))
    with OpenEXR.File(str(exr)) as image:
        header = {**image.header()}
    assert header["rem/software"] == "ReferEverything" and not {"prompt", "workflow"} & header.keys()
    for file in (mov, folder / "preview.mp4"):
        with av.open(str(file)) as movie:
            texts = {**movie.metadata, **movie.streams.video[0].metadata}
        assert not {"prompt", "workflow"} & texts.keys() and "class_type" not in str(texts)
    assert again == batch and said == ["1 shot: 0 written, 1 there already."]  # the graph is known, though not told
