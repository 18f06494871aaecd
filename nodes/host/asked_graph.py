"""The graph that somebody asks the host to run, for checks of a node that look at those before it.

While the host validates a node it shows it no graph, but it has shown the whole to whoever watches requests, a moment
before and in the same task.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import is_link

from ...rem_engine.backbones.base import WAN
from ...rem_engine.backbones.configuration import read_defaults
from ...rem_engine.backbones.load import MINI_FOLDER
from ...rem_engine.segment.window_plan import check_settings_of
from ..widgets.layer_settings import checked_layers
from ..widgets.segment import segment_settings
from .weights import BUNDLED

_graph: ContextVar[Any] = ContextVar("graph", default=None)


def watch_requests() -> None:
    """Have the host show every graph that it is asked for."""
    from server import PromptServer  # what it imports need not be there before the host serves

    server = getattr(PromptServer, "instance", None)
    if server is not None:
        server.add_on_prompt_handler(_keep)


def asked_layers(node: type[io.ComfyNode]) -> int | None:
    """How many layers of prompts reach a node's input `conditioning`; None where only a run tells."""
    return _layers_before(_asked(), _name_of(node), "conditioning", set())


def check_asked_windows(node: type[io.ComfyNode]) -> None:
    """Raise ValueError for a size or windows that REM-mini cannot take, where Load REM gives it to a node's input
    `model`; of other models, and of values that are linked, a run tells."""
    graph = _asked()
    inputs = graph.get(_name_of(node), {}).get("inputs", {})
    link = inputs.get("model")
    loader = graph.get(link[0], {}) if is_link(link) else {}
    if loader.get("class_type") != "LoadREM" or loader.get("inputs", {}).get("checkpoint") != BUNDLED:
        return
    numbers = {key: inputs.get(key, 0) for key in ("height", "width", "window", "overlap")}
    others = {"protocol": inputs.get("protocol", "shot"), "keep_aspect": inputs.get("keep_aspect", False)}
    if not all(isinstance(value, int) for value in numbers.values()) or any(map(is_link, others.values())):
        return
    defaults = read_defaults(MINI_FOLDER, WAN)
    plain = defaults["default_size"]
    settings = segment_settings(numbers | others, plain)
    check_settings_of(WAN, settings, plain, defaults["default_window"], defaults["default_overlap"])


def _keep(request: dict[str, Any]) -> dict[str, Any]:
    _graph.set(request.get("prompt"))
    return request


def _asked() -> dict[str, Any]:
    """The graph by the names of its nodes; {} where none was shown."""
    graph = _graph.get()
    return graph if isinstance(graph, dict) else {}


def _name_of(node: type[io.ComfyNode]) -> Any:
    return node.hidden.unique_id if node.hidden else None


def _layers_before(graph: dict[str, Any], name: Any, socket: str, seen: set[str]) -> int | None:
    """Layers that come in at a socket of a node."""
    link = graph.get(name, {}).get("inputs", {}).get(socket)
    if not is_link(link) or link[0] in seen:
        return None
    before = graph.get(link[0], {})
    kind, inputs = before.get("class_type"), before.get("inputs", {})
    if kind == "ConditioningCombine":
        parts = [_layers_before(graph, link[0], f"conditioning_{number}", {*seen, link[0]}) for number in (1, 2)]
        return None if None in parts else sum(part for part in parts if part)
    if kind != "EncodeText" or not isinstance(inputs.get("text"), str):
        return None
    try:
        return len(checked_layers(inputs["text"].splitlines()))
    except ValueError:  # EncodeText tells it
        return None
