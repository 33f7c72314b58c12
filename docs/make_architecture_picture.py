"""Draw the rooms of the package and what they import, from the imports themselves: docs/images/architecture.png.

    python docs/make_architecture_picture.py [OUT]

Rooms stand on the floors of the layers contract in pyproject.toml; an arrow's width tells of how many imports.
Arrows into the nouns and into `run`, which nearly every room uses, are left out.
"""

import sys
import tomllib
from collections import Counter
from pathlib import Path

import grimp
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

ROOT = Path(__file__).parents[1]
QUIET = {"errors", "geometry", "annotation", "calibration", "detection", "familiarity", "run"}
CAPTION = {
    "cli": "commands, terminal, doctor",
    "recipe": "TOML, one fold, crossval",
    "audit": "doubtful labels, QuPath",
    "parallel": "processes, Ray",
    "report": "HTML pages",
    "study": "many trainings, one table",
    "method": "cascade, finegrained, dasc, sieve",
    "scan": "many slides, container",
    "train": "places, feed, lesson, loop, thresholds",
    "sieve": "detector, tile reader, cascade, workers",
    "score": "matching, curves, intervals",
    "count": "hotspot, mitotic score, heat map",
    "export": "one file a format",
    "network": "one network a file, engines",
    "models": "shipped detectors, cards",
    "patch": "index, frames, reader, augment",
    "phantom": "synthetic tissue",
    "cohort": "marks, split, importers",
    "slide": "readers, tissue, stain, overview",
    "run": "folder, layout, seed",
}


def floors() -> list[list[str]]:
    """Rooms by floor, from the top."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(one for one in content["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    return [[room.strip() for room in layer.split("|")] for layer in contract["layers"]]


def arrows() -> Counter[tuple[str, str]]:
    """How many imports of modules lead from one room into another."""
    graph = grimp.build_graph("mitosieve")
    found: Counter[tuple[str, str]] = Counter()
    for module in graph.modules:
        for other in graph.find_modules_directly_imported_by(module):
            rooms = [name.split(".")[1] if "." in name else "" for name in (module, other)]
            if all(rooms) and rooms[0] != rooms[1]:
                found[rooms[0], rooms[1]] += 1
    return found


def draw(out: Path) -> Path:
    """Draw the picture."""
    layers = floors()
    place: dict[str, tuple[float, float]] = {}
    for level, rooms in enumerate(layers):
        for number, room in enumerate(rooms):
            place[room] = ((number + 0.5) / len(rooms) * 12, -1.25 * level)
    figure, axes = plt.subplots(figsize=(12, 14), dpi=80)
    for (room, other), count in sorted(arrows().items()):
        if other in QUIET or room not in place or other not in place:
            continue
        (x0, y0), (x1, y1) = place[room], place[other]
        axes.add_patch(
            FancyArrowPatch(
                (x0, y0 - 0.3),
                (x1, y1 + 0.3),
                arrowstyle="-|>",
                mutation_scale=9,
                linewidth=0.4 + 0.18 * min(count, 20),
                color="#5a6b7b",
                alpha=0.35,
                connectionstyle="arc3,rad=0.08",
            )
        )
    widest = {room: min(2.9, 12 / len(rooms) - 0.12) for rooms in layers for room in rooms}
    for room, (x, y) in place.items():
        width = widest[room]
        axes.add_patch(
            FancyBboxPatch(
                (x - width / 2, y - 0.28),
                width,
                0.56,
                boxstyle="round,pad=0.03",
                facecolor="#eef3f7",
                edgecolor="#34495e",
            )
        )
        axes.text(x, y + (0.08 if room in CAPTION else 0), room, ha="center", va="center", weight="bold", size=12)
        if room in CAPTION:
            axes.text(x, y - 0.15, CAPTION[room], ha="center", va="center", size=7.5, color="#445")
    axes.set_xlim(-0.2, 12.2)
    axes.set_ylim(-1.25 * (len(layers) - 1) - 0.6, 0.6)
    axes.axis("off")
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, bbox_inches="tight", metadata={"Software": None})
    return out


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images" / "architecture.png")
