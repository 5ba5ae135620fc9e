"""How fast the row stream is, against plain forwards and its own matrix products, in one run.

    python benchmarks/speed.py --net tiny --repeats 5 --json speed.json

Prints medians in seconds per megapixel and their ratios to the stream, with the spread of each.
"matrix products" is the time that the net's multiply-adds would take at the rate of torch.addmm on
its own layer shapes, all threads busy. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from unetmm.nets.config import NetConfig, nafnet32_config, tiny_config
from unetmm.nets.nafnet import NAFNet, build_net
from unetmm.nets.shapes import macs_per_px, tensor_shapes
from unetmm.pipeline import Options, restore_array
from unetmm.plan import available_cores
from unetmm.weights import Model

NETS = {
    "tiny": tiny_config(3),
    "nafnet32": nafnet32_config(),
    "unetmm32": nafnet32_config().with_aggregate(),
}


def lively_net(config: NetConfig) -> NAFNet:
    """Random weights; zero scales would let nothing be skipped, but let results degenerate."""
    torch.manual_seed(0)
    net = build_net(config).eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(("beta", "gamma")):
                parameter.normal_(0, 0.3)
    return net


def seconds_of(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def addmm_macs_per_s(c_in: int, c_out: int, threads: int) -> float:
    """Multiply-adds a second of torch.addmm on one layer's shape, one call a thread."""
    rows = max(64, 2**18 // c_in)
    operands = [
        (torch.randn(c_out), torch.randn(rows, c_in), torch.randn(c_in, c_out))
        for _ in range(threads)
    ]
    outputs = [torch.empty(rows, c_out) for _ in range(threads)]
    calls = 20

    def work(i: int) -> None:
        for _ in range(calls):
            torch.addmm(*operands[i], out=outputs[i])

    with ThreadPoolExecutor(threads) as pool:
        best = min(seconds_of(lambda: list(pool.map(work, range(threads)))) for _ in range(5))
    return threads * calls * rows * c_in * c_out / best


def matrix_seconds_per_mpx(config: NetConfig, threads: int) -> float:
    """Time of all multiply-adds of a megapixel at the measured rate of their layer shapes."""
    shapes = [s for n, s in tensor_shapes(config).items() if n.endswith("conv1.weight")]
    rates = {s: addmm_macs_per_s(s[1], s[0], threads) for s in set(shapes)}
    slowness = statistics.mean(1 / rates[s] for s in shapes)
    return macs_per_px(config) * 1e6 * slowness


def measure(name: str, side_px: int, repeats: int) -> dict[str, list[float]]:
    """Seconds per megapixel of every contender, `repeats` times, in turn."""
    config, threads = NETS[name], available_cores()
    net = lively_net(config)
    tensors = {k: v.numpy() for k, v in net.state_dict().items()}
    model = Model(name, config, {}, None, tensors)
    image = np.random.default_rng(0).integers(0, 256, (side_px, side_px, 3), np.uint8)
    planar = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None].contiguous()
    interleaved = planar.contiguous(memory_format=torch.channels_last)
    last = lively_net(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(module: torch.nn.Module, pixels: torch.Tensor) -> None:
        torch.set_num_threads(threads)
        with torch.no_grad():
            module(pixels)

    def matrix_products() -> float:
        torch.set_num_threads(1)
        return matrix_seconds_per_mpx(config, threads)

    megapixels = side_px**2 / 1e6
    contenders: dict[str, Callable[[], float]] = {
        "matrix products": matrix_products,
        "row stream": lambda: seconds_of(lambda: restore_array(image, Options(model))) / megapixels,
        "channels-last forward": lambda: (
            seconds_of(lambda: forward(last, interleaved)) / megapixels
        ),
        "plain NCHW forward": lambda: seconds_of(lambda: forward(net, planar)) / megapixels,
    }
    contenders |= openvino_contender(net, planar, megapixels)
    for contender in contenders.values():
        contender()  # kernels, caches and allocators settle
    found: dict[str, list[float]] = {label: [] for label in contenders}
    for _ in range(repeats):
        for label, contender in contenders.items():
            found[label].append(contender())
    return found


def openvino_contender(
    net: NAFNet, planar: torch.Tensor, megapixels: float
) -> dict[str, Callable[[], float]]:
    """OpenVINO on the whole image in float32, if it is installed."""
    try:
        import openvino
    except ImportError:
        return {}
    core = openvino.Core()
    exported = openvino.convert_model(net, example_input=planar, input=[planar.shape])
    compiled = core.compile_model(exported, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    pixels = planar.numpy()
    return {"OpenVINO": lambda: seconds_of(lambda: compiled(pixels)) / megapixels}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--net", choices=NETS, action="append")
    parser.add_argument("--side-px", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    results = {}
    for name in arguments.net or NETS:
        found = results[name] = measure(name, arguments.side_px, arguments.repeats)
        stream = statistics.median(found["row stream"])
        print(f"{name}, {arguments.side_px} x {arguments.side_px}, {available_cores()} threads")
        for label, seconds in found.items():
            median = statistics.median(seconds)
            print(
                f"  {label:24s} {median:8.3f} s/Mpx ({min(seconds):.3f} to {max(seconds):.3f})"
                f"   {median / stream:6.2f} x the stream"
            )
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)


if __name__ == "__main__":
    main()
