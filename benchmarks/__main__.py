"""`make bench`: measures everything in one run and writes a table, to the screen and to build/bench.md."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks import measures
from benchmarks.api import api
from benchmarks.dashboard import dashboard
from benchmarks.runs import runs
from benchmarks.stage import HERE


def main() -> None:
    """Measure everything and write the table."""
    with tempfile.TemporaryDirectory(prefix="portal-bench-") as folder:
        lines = ["| what | measured | wanted | |", "| --- | --- | --- | --- |"]
        print("\n".join(lines), flush=True)
        chosen = [
            measure
            for measure in [*measures.ALL, api, dashboard, runs]
            if not sys.argv[1:] or measure.__name__ in sys.argv[1:]
        ]
        for measure in chosen:
            for row in measure(Path(folder)):
                lines.append(f"| {row.what} | {row.measured} | {row.wanted} | {'ok' if row.is_met else 'MISSED'} |")
                print(lines[-1], flush=True)
    target = HERE / "build/bench.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
