"""Runs inside a ComfyUI's own Python: Segment Shot of every kind of VIDEO, against what the host itself gives of it;
writes JSON.

    python trim_in_host.py HOST BASE PACK REPORT SHOTS

The tests beside this file judge the report.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

from host_session import sentence, start
from node_runs import encode


def main(host: Path, base: Path, pack: Path, report: Path, shots: Path) -> None:
    nodes = start(host, base, pack)
    shutil.copytree(shots, base / "input", dirs_exist_ok=True)
    import torch

    with torch.inference_mode():
        results = {"frames": frames(base / "input"), "delivered": delivered(nodes, base / "input")}
    report.write_text(json.dumps(results))


def windows(video: Any) -> dict[str, Any]:
    """VIDEOs that are trimmed, by what they are."""
    spans = {
        "whole": (0.0, 0.0),
        "middle": (0.25, 0.25),
        "start": (0.0, 0.3),
        "end": (0.5, 0.0),
        "odd": (0.2001, 0.1667),
    }
    found = {name: video.as_trimmed(*span, strict_duration=False) for name, span in spans.items()}
    found["from the end"] = video.as_trimmed(-0.25, 0.0, strict_duration=False)
    found["twice"] = found["middle"].as_trimmed(0.1, 0.1, strict_duration=False)
    return found


def frames(folder: Path) -> dict[str, Any]:
    """How far our frames are from the host's, and how many each gives, of every file trimmed in every way."""
    from comfy_api.latest import InputImpl
    from refereverything_pack.nodes.host.inputs import video_shot
    from refereverything_pack.rem_engine.media.plate_settings import PlateSettings

    kinds = {path.name: InputImpl.VideoFromFile(str(path)) for path in sorted(folder.glob("*.m*"))}
    kinds["bytes"] = InputImpl.VideoFromFile(io.BytesIO((folder / "shot.mp4").read_bytes()))
    if not hasattr(kinds["bytes"], "as_trimmed"):
        return {}
    results = {}
    for name, video in kinds.items():
        for span, trimmed in windows(video).items():
            hosts = trimmed.get_components().images.float().numpy()
            with video_shot(trimmed, PlateSettings()) as shot:
                ours = shot.open()
                read = ours.read(0, ours.frame_count)
                ours.close()
                away = abs(read / 255.0 - hosts).max() if len(read) == len(hosts) else 1.0
                results[f"{name}, {span}"] = [len(read), len(hosts), float(away), shot.info.timecode]
    return results


def delivered(nodes: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Files that Segment Shot writes of VIDEOs, or its sentence."""
    from comfy_api.latest import InputImpl, Types

    model, clip, vae = nodes["LoadREM"].execute("REM-mini (bundled)").args
    conditioning = encode(nodes, clip, "smoke")
    file = InputImpl.VideoFromFile(str(folder / "shot.mp4"))
    images = file.get_components().images.float()

    class Cropped(InputImpl.VideoFromFile):
        """As a pack may do it: its frames are not those of its file."""

        def get_components(self) -> Any:
            parts = super().get_components()
            parts.images = parts.images[:4, :32, :48]
            return parts

    class Plain(InputImpl.VideoFromFile):
        """Another class of the same frames."""

    def components(**parts: Any) -> Any:
        return InputImpl.VideoFromComponents(Types.VideoComponents(audio=None, **parts))

    videos = {
        "cropped": Cropped(str(folder / "shot.mp4")),
        "plain": Plain(str(folder / "shot.mp4")),
        "half": components(images=images[:5].half(), frame_rate=Fraction(24)),
        "RGBA": components(images=images[:5, ..., [0, 1, 2, 0]], frame_rate=Fraction(24)),
        "float rate": components(images=images[:5], frame_rate=23.976),
        "0..255": components(images=images[:5] * 255, frame_rate=Fraction(24)),
        "no VIDEO": images,
    }
    if hasattr(file, "as_trimmed"):
        videos["trimmed"] = file.as_trimmed(0.25, 0.25, strict_duration=False)
        videos["beyond"] = file.as_trimmed(9.0, 1.0, strict_duration=False)
        videos["memory, trimmed"] = components(images=images, frame_rate=Fraction(24)).as_trimmed(0.25, 0.25)

    def run(name: str, video: Any, **settings: Any) -> dict[str, Any]:
        settings = {
            "protocol": "shot", "height": 32, "width": 48, "window": 5, "overlap": 0, "path": "connected video",
            "format": "alpha", "also": "none", "start": 1001, "colour": "straight", "fps": 24.0, "black": 0.0,
            "white": 1.0, "grow": 0, "feather": 0.0, "refine": 0, "smooth": 0,
        } | settings  # fmt: skip
        written = Path(
            nodes["SegmentShot"]
            .execute(model, vae, conditioning, filename_prefix=f"trim/{name}", video=video, **settings)
            .args[0]
        )
        run = json.loads((written / "run.json").read_text())
        files = sorted(file.name for file in (written / "smoke" / "alpha").iterdir())
        return {"files": files, "shot": run["shot"]}

    results: dict[str, Any] = {}
    for name, video in videos.items():
        said = sentence(lambda name=name, video=video: results.__setitem__(name, run(name.split(",")[0], video)))
        results.setdefault(name, said)
    if "trimmed" in videos:
        results["trimmed, some frames"] = run("some", videos["trimmed"], frames="1003-1004")
    return results


if __name__ == "__main__":
    main(*(Path(argument).absolute() for argument in sys.argv[1:]))
