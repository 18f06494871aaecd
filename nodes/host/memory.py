"""Memory that was freed, back to the system.

What a run and its models took is let go of by the host's own rules, but glibc keeps what was freed in small pieces for
itself: the host's "free memory" then changes nothing that the system can see. And the host may not hear of it: see
`remind_host`.
"""

from __future__ import annotations

import threading
import time
import weakref
from typing import Any

from ...rem_engine.memory import give_back_memory

_SECONDS = 3.0  # what the host drops together is collected within that, on a busy machine too
# Between two looks at what the host was asked for, and for how long after its last graph.
_LOOK, _LOOKED = 1.0, 120.0

_reminding = threading.Lock()


def give_back_memory_after_run() -> None:
    """Do so now, at the end of a node, and see to it that the host hears where it is asked for the rest."""
    give_back_memory()
    from server import PromptServer  # what it imports need not be there before the host serves

    queue = getattr(getattr(PromptServer, "instance", None), "prompt_queue", None)
    if queue is not None:
        threading.Thread(target=remind_host, args=(queue,), daemon=True).start()


def give_back_memory_after(model: Any) -> None:
    """Do so once `model` is gone; the host drops all that a graph held together, which a moment later is freed."""
    weakref.finalize(model, _soon).atexit = False


def remind_host(queue: Any, look: float = _LOOK, looked: float = _LOOKED) -> None:
    """Ask the host once more for what it was asked for and has not heard, until it has had no graph for a while.

    Its worker waits for graphs and for requests such as "free memory", but collects garbage between looking for
    requests and waiting: one that comes in these seconds, right after a graph, wakes nobody and lies there until the
    next graph, or for 1000 seconds.

    Args:
        queue: the host's PromptQueue.
        look: seconds between two looks; a request that lies there for so long was not heard.
        looked: seconds without a graph after which this ends.
    """
    if not _reminding.acquire(blocking=False):  # one does for all nodes
        return
    try:
        idle_since = time.monotonic()
        before: dict[str, Any] = {}
        while time.monotonic() - idle_since < looked:
            time.sleep(look)
            if queue.get_tasks_remaining():
                idle_since, before = time.monotonic(), {}
                continue
            asked = queue.get_flags(reset=False)
            if asked and asked == before:
                for name, value in asked.items():
                    queue.set_flag(name, value)
            before = asked
    finally:
        _reminding.release()


def _soon() -> None:
    timer = threading.Timer(_SECONDS, give_back_memory)
    timer.daemon = True
    timer.start()
