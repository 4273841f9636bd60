"""The figures of full demos as tables for the docs: accuracy, gains with intervals, controls, time.

    python benchmarks/full.py DEMO [DEMO ...]

Each DEMO is a folder that `stainloom demo --full --seed S --out DEMO` made.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def per_cent(figures: dict[str, Any], title: str) -> str:
    """Accuracy on held-out patients."""
    test = figures["Train"].get(title, {}).get("test")
    return f"{100 * test['accuracy']:.1f}" if test else "did not learn"


def table(demos: dict[str, dict[str, Any]]) -> list[str]:
    """One column a demo, as Markdown."""
    first = next(iter(demos.values()))
    rows = [(title, [per_cent(figures, title) for figures in demos.values()]) for title in first["Train"]]
    rows.append(
        ("chance: the largest class", [f"{100 * figures['Report']['chance']:.1f}" for figures in demos.values()])
    )
    for name in first["Report"]["gains"]:
        gains = [figures["Report"]["gains"].get(name) for figures in demos.values()]
        cells = [
            f"{100 * gain['gain']:+.1f} ({100 * gain['low']:+.1f} to {100 * gain['high']:+.1f})" if gain else ""
            for gain in gains
        ]
        rows.append((f"gain of fusing over {name}, points (95 % interval over patients)", cells))
    rows.append(
        ("windows, patients held out", [
            f"{figures['Report']['test_windows']}, {figures['Report']['test_patients']}" for figures in demos.values()
        ])
    )  # fmt: skip
    rows.append(("minutes in all", [f"{sum(figures['seconds'].values()) / 60:.0f}" for figures in demos.values()]))
    lines = ["| per cent right on held-out patients | " + " | ".join(demos) + " |", "|---|" + "---|" * len(demos)]
    return lines + [f"| {title} | {' | '.join(cells)} |" for title, cells in rows]


def main() -> int:
    """Print the table; 1 where a control of a demo does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demos", type=Path, nargs="+")
    options = parser.parse_args()
    demos = {path.name: json.loads((path / "figures.json").read_text(encoding="utf-8")) for path in options.demos}
    print("\n".join(table(demos)))
    held = True
    for name, figures in demos.items():
        for title, check in figures["Controls"].items():
            held &= check["holds"]
            print(f"{name}: {'holds' if check['holds'] else 'DOES NOT HOLD'}: {title}, {check['text']}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
