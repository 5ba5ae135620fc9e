"""The tables of docs/measured/speed.md: `unetmm benchmark` for several nets, as Markdown and JSON.

    python benchmarks/speed.py --model tiny-rgb --model nafnet-32 --size 2048 --peer openvino \\
        --json speed.json

Every contender is measured in a process of its own, see unetmm/benchmark. Peers that are not
installed into the environment can lie aside: PYTHONPATH=/path/to/site.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from watch import end_tidily, markdown

from unetmm.benchmark import LAYOUTS, Setting, Step, run_benchmark
from unetmm.benchmark.session import installed_peers
from unetmm.process import available_cores
from unetmm_cli.commands.benchmark import ALL_PEERS
from unetmm_cli.display.benchmark import row

DEFAULT_MODELS = ("tiny-rgb", *LAYOUTS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--model", action="append", help=f"default: {', '.join(DEFAULT_MODELS)}")
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--repeat-slow", type=int, default=0, help="of what takes more than 20 s")
    parser.add_argument("--peer", action="append", default=[], help="a name, or all")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    end_tidily()
    peers = installed_peers() if ALL_PEERS in arguments.peer else tuple(arguments.peer)
    found = []
    for model in arguments.model or DEFAULT_MODELS:
        setting = Setting(
            model, arguments.size, arguments.repeat, arguments.repeat_slow, available_cores(), peers
        )
        result = run_benchmark(setting, show)
        found.append(result.as_dict())
        print(f"{model}, {arguments.size} x {arguments.size}, {result.threads} threads\n")
        header = ("", "s/Mpx", "spread", "x the stream", "peak", "largest difference", "")
        print(markdown(header, [row(m, result) for m in result.measurements]), flush=True)
        if arguments.json:  # after every net, so that a run that is cut short leaves something
            arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def show(step: Step) -> None:
    print(f"{step.label}: {step.what} {step.seconds:.2f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
