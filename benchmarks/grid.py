"""Is the budget kept, and used? Every net, kind of image, shape and budget, each a real run.

    python benchmarks/grid.py --folder /tmp/grid
    python benchmarks/grid.py --folder /tmp/grid --limit --net tiny --budget 512MB

Runs are stopped in order once their peak is reached, except those marked "whole". What is done is
kept in FOLDER/done.jsonl (done-limit.jsonl), and the same command goes on with the rest. With
--limit each run is confined to its budget plus 5 %, by a control group where one can be made, by
RLIMIT_DATA elsewhere. Prints a Markdown table and what it comes to.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watch import (
    Run,
    aside,
    end_tidily,
    limited,
    make_image,
    markdown,
    megabytes,
    model_for,
    plan_of,
    remove_output,
    restore,
)

NETS = ("tiny", "nafnet-32", "unetmm-32")
BUDGETS = {
    "256MB": 256 * 10**6, "512MB": 512 * 10**6, "1GB": 10**9, "2GB": 2 * 10**9, "4GB": 4 * 10**9,
}  # fmt: skip
KINDS = ("mono16", "rgb8")
SHAPES = {"4000x3000": (3000, 4000), "30000x2000": (2000, 30000), "2000x30000": (30000, 2000)}
"""Width x height, as they are named -> (height, width)."""
LIMIT = 1.05
UNLIMITED = 10**12
GEOMETRY = ("strip_width_px", "band_rows", "strips", "segments", "workers", "threads")


@dataclass(frozen=True)
class Case:
    """One cell of the grid."""

    net: str
    kind: str
    shape: str
    budget: str

    @property
    def key(self) -> str:
        return f"{self.net} {self.kind} {self.shape} {self.budget}"

    @property
    def whole(self) -> bool:
        """Whether it runs to its end: what is quick, and one of every net and kind besides."""
        return self.net == "tiny" or (self.shape == "4000x3000" and self.budget == "1GB")


def main() -> int:
    end_tidily()
    arguments = parse()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    done_path = folder / ("done-limit.jsonl" if arguments.limit else "done.jsonl")
    done = read_done(done_path)
    cases = [
        Case(*values)
        for values in itertools.product(
            arguments.net or NETS, KINDS, arguments.shape or SHAPES, arguments.budget or BUDGETS
        )
    ]
    for i, case in enumerate(cases):
        if case.key in done:
            continue
        print(f"{i + 1} of {len(cases)}: {case.key}", file=sys.stderr, flush=True)
        done[case.key] = facts = carry_out(case, folder, arguments.limit)
        with done_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"case": case.key, **facts}) + "\n")
    found = [(case, done[case.key]) for case in cases]
    print(table(found))
    print()
    return summary(found)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/unetmm-grid"))
    parser.add_argument("--limit", action="store_true", help="confine each run to budget + 5 %%")
    parser.add_argument("--net", choices=NETS, action="append")
    parser.add_argument("--shape", choices=SHAPES, action="append")
    parser.add_argument("--budget", choices=BUDGETS, action="append")
    return parser.parse_args()


def read_done(path: Path) -> dict[str, dict[str, Any]]:
    """Case -> facts of earlier runs of this script."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {line.pop("case"): line for line in lines}


def carry_out(case: Case, folder: Path, limit: bool) -> dict[str, Any]:
    """Plan and run one case; the facts that the table is made of."""
    height, width = SHAPES[case.shape]
    image = folder / f"{case.kind}-{case.shape}.tif"
    if not image.exists():
        aside(make_image, image, height, width, case.kind, "zlib")
    model, budget = model_for(case.net, case.kind, folder), BUDGETS[case.budget]
    output = folder / "out.ome.zarr"
    free = plan_of(image, output, model, UNLIMITED)
    planned = plan_of(image, output, model, budget)
    if isinstance(planned, str) or isinstance(free, str):
        return {"refused": str(planned)}
    remove_output(output)
    try:
        with limited(int(budget * LIMIT) if limit else None) as bound:
            run = restore(image, output, model, budget, stop_early=not case.whole, limit=bound)
            confined = "" if bound is None else ("control group" if bound.group else "RLIMIT_DATA")
    finally:
        remove_output(output)
    return facts_of(run, free) | {"confined": confined}


def facts_of(run: Run, free: dict[str, Any]) -> dict[str, Any]:
    geometry = {name: run.plan.get(name) for name in GEOMETRY}
    return {
        "plan": geometry,
        "projected_bytes": run.plan.get("projected_peak_bytes", 0),
        "measured_bytes": run.peak_bytes,
        "reported_bytes": run.report.get("measured_peak_bytes"),
        "budget_bound": geometry != {name: free["plan"][name] for name in GEOMETRY},
        "stopped_at": run.stopped_at,
        "seconds": run.seconds,
        "exit_code": run.exit_code,
        "words": run.words,
        "group_peak_bytes": run.group_peak_bytes,
        "kills": run.kills,
    }


def ended_well(facts: dict[str, Any]) -> bool:
    """Whether a run came to its end, or ended in order where it was stopped."""
    return facts["exit_code"] == (0 if facts["stopped_at"] is None else 130)


def table(found: list[tuple[Case, dict[str, Any]]]) -> str:
    header = (
        "net", "image", "budget", "strips x segments", "width", "workers x threads", "planned",
        "measured", "of the budget", "budget-bound", "run",
    )  # fmt: skip
    return markdown(header, [row(case, facts) for case, facts in found])


def row(case: Case, facts: dict[str, Any]) -> list[str]:
    head = [case.net, f"{case.shape} {case.kind}", case.budget]
    if "refused" in facts:
        return [*head, *["-"] * 7, facts["refused"].partition("; give")[2] or "refused"]
    plan, budget = facts["plan"], BUDGETS[case.budget]
    end = "whole" if facts["stopped_at"] is None else f"to {facts['stopped_at']:.0%}"
    return [
        *head,
        f"{plan['strips']} x {plan['segments']}",
        f"{plan['strip_width_px']} px",
        f"{plan['workers']} x {plan['threads']}",
        megabytes(facts["projected_bytes"]),
        megabytes(facts["measured_bytes"]),
        f"{facts['measured_bytes'] / budget:.0%}",
        "yes" if facts["budget_bound"] else "",
        end if ended_well(facts) else f"exit {facts['exit_code']}: {facts['words']}",
    ]


def summary(found: list[tuple[Case, dict[str, Any]]]) -> int:
    """Print the sum of the table; 1 if a run broke its budget or did not end well."""
    ran = [(case, facts) for case, facts in found if "refused" not in facts]
    kept = [f["measured_bytes"] <= BUDGETS[c.budget] for c, f in ran]
    planned = [f["measured_bytes"] <= f["projected_bytes"] for _, f in ran]
    well = [ended_well(f) for _, f in ran]
    print(f"{len(found) - len(ran)} of {len(found)} refused before a pixel was read")
    print(f"{sum(kept)} of {len(ran)} within their budget, {sum(planned)} within their plan")
    for how in sorted({f["confined"] for _, f in ran if f["confined"]}):
        print(f"each confined to its budget plus {LIMIT - 1:.0%} by {how}")
    print(f"{sum(well)} of {len(ran)} ended in order, {sum(f['kills'] for _, f in ran)} killed")
    for what, of in (("projected", "projected_bytes"), ("measured", "measured_bytes")):
        shares = [f[of] / BUDGETS[c.budget] for c, f in ran if f["budget_bound"]]
        if shares:
            print(
                f"{what} use of the budget where a larger one would change the cut: median "
                f"{statistics.median(shares):.0%} of {len(shares)} ({min(shares):.0%} to "
                f"{max(shares):.0%})"
            )
    return int(not all(kept) or not all(well))


if __name__ == "__main__":
    sys.exit(main())
