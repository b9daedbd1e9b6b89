"""What a program leaves when it ends: its `results`, and its open figures."""
# mypy: allow-untyped-calls

import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

RESULTS_FILE = ".results.json"
MAX_FIGURE_BYTES = 10 * 1024 * 1024  # as base64 still within one message
_IMAGES = ("image/png", "image/jpeg")


def write_results(
    namespace: dict[str, Any], work: Path, serialization: ModuleType
) -> dict[str, Any]:
    """Write `results` beside the program's files, and say in JSON what became of them.

    `problem` is None or says why there are none; `sha256` is that of the file's content.
    """
    report: dict[str, Any] = {"source": "runpermit", "problem": None, "sha256": None}
    expected = 'expected is a dict named `results`, such as results = {"mean": 1.5}'
    if "results" not in namespace:
        return report | {"problem": f"The code left no `results`; {expected}."}
    results = namespace["results"]
    if not issubclass(type(results), dict):
        return report | {"problem": f"`results` is of type {type(results).__name__}; {expected}."}
    outcome = serialization.serialize_results_to_file(results, str(work / RESULTS_FILE))
    return report | {
        "problem": outcome["error"],
        "sha256": outcome["sha256"],
        "unserializable": outcome["unserializable"],
    }


def only_images(message: dict[str, Any]) -> dict[str, Any] | None:
    """Pass on a display message that the host collects, or None: images of a size that it takes."""
    data = message["content"].get("data", {})
    for kind in _IMAGES:
        image = data.get(kind)
        if isinstance(image, bytes | str):  # some formatters encode, others leave it to the session
            if len(image) <= MAX_FIGURE_BYTES:
                return message
            sys.stderr.write(f"A figure of {len(image)} bytes is too large to keep.\n")
    return None


def show_open_figures() -> None:
    """Publish the figures that are still open, as with a backend other than Jupyter's own."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return
    from IPython.display import display  # noqa: PLC0415

    for number in pyplot.get_fignums():
        figure = pyplot.figure(number)
        display(_Png(figure))
    pyplot.close("all")


class _Png:
    """A figure that Jupyter shows as PNG, whatever its own backend."""

    def __init__(self, figure: Any) -> None:  # noqa: ANN401
        self._figure = figure

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self._figure.savefig(content, format="png")
        return content.getvalue()
