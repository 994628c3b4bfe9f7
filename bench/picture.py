"""Draw the ratios to peers and to the machine's peak in bench/results/*.json.

python bench/picture.py [picture.png]
"""

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

RESULTS = Path(__file__).resolve().parent / "results"
LONGEST = 90  # letters of a label
SHOWN = {"x faster": "times faster than the peer", "% of peak": "% of the machine's peak"}


def main(picture="speed.png"):
    found = {unit: [] for unit in SHOWN}
    others = {*RESULTS.glob("cost-model-*"), *RESULTS.glob("gpu-*")}
    for file in sorted(set(RESULTS.glob("*.json")) - others):
        for figure in json.loads(file.read_text(encoding="utf-8"))["figures"].values():
            if figure["unit"] in found:
                found[figure["unit"]].append((figure["case"], figure["value"], figure["at_least"]))
    heights = [len(rows) for rows in found.values()]
    drawn = Figure(figsize=(10, 0.36 * sum(heights) + 1.4), layout="constrained")
    panels = drawn.subplots(len(found), 1, height_ratios=heights)
    for axes, (unit, rows) in zip(panels, found.items(), strict=True):
        rows.sort(key=lambda row: row[1])
        _draw(axes, rows, SHOWN[unit])
    drawn.savefig(picture, dpi=140)


def _draw(axes, rows, title):
    cases, values, targets = zip(*rows, strict=True)
    places = range(len(rows))
    axes.barh(places, values, height=0.6, color="#2a6fb0")
    axes.set_yticks(places, [case if len(case) <= LONGEST else case[:LONGEST] + " ..." for case in cases])
    for place, value, target in zip(places, values, targets, strict=True):
        axes.text(value, place, f" {value:.3g}", va="center", fontsize=9)
        if target is not None:
            axes.plot([target, target], [place - 0.4, place + 0.4], color="#d1495b", lw=2)
    axes.set_title(f"{title} (red: the target)", loc="left", fontsize=11)
    axes.margins(x=0.08, y=0.03)
    axes.grid(axis="x", color="#e3e6ea")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, labelsize=9)


if __name__ == "__main__":
    main(*sys.argv[1:])
