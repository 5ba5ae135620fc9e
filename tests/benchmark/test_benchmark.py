"""What `unetmm benchmark` measures is the same net, and what it says about it is right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import CONFIGS, lively_model

from unetmm.benchmark import LAYOUTS, BenchmarkResult, Measurement, Setting, Step, run_benchmark
from unetmm.benchmark import child as benchmark_child
from unetmm.benchmark.contenders import OWN, Subject, nchw, prepare, stream
from unetmm.benchmark.matrix import depthwise_share, matrix_products
from unetmm.benchmark.peers import (
    dask_overlap,
    halo_px,
    map_overlap,
    power_of_two_tiler,
    tiled,
    window_sizes,
)
from unetmm.benchmark.setting import Files, random_model
from unetmm.benchmark.windows import windows
from unetmm.errors import ShapeError, WeightsError
from unetmm.models.weights import save_model
from unetmm.nets.config import NetConfig, tiny_config
from unetmm.nets.shapes import macs_per_px, tensor_shapes
from unetmm_cli.__main__ import run as run_cli
from unetmm_cli.display.benchmark import row

NETS = {**CONFIGS, "tiny": tiny_config(3), **{n: make() for n, make in LAYOUTS.items()}}
SMALL = CONFIGS["unetmm"]
EXACT = 2e-6


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A benchmark of a small net whose files are ready, the untiled forward included."""
    folder = tmp_path_factory.mktemp("benchmark")
    weights = folder / "small.safetensors"
    save_model(weights, SMALL, lively_model(SMALL).tensors, {"task": "denoise"})
    subject = Subject(Setting(str(weights), 136, repeats=2, threads=2), Files(folder))
    prepare(subject)
    np.save(subject.files.reference, nchw(subject).run())
    return subject


def difference(subject: Subject, answer: np.ndarray) -> float:
    found = subject.difference(answer)
    assert found is not None
    return found


@pytest.mark.parametrize("name", NETS)
def test_matrix_products_and_depthwise_convolutions_are_all_multiply_adds(name: str) -> None:
    config = NETS[name]
    depthwise = 0.0
    for key, shape in tensor_shapes(config).items():
        if config.body == "nafnet" and key.endswith(".conv2.weight"):
            # The depthwise convolution of a block has 9 * 2c, its first 1x1 2c * c.
            first = tensor_shapes(config)[key.replace("conv2", "conv1")]
            depthwise += 9 * shape[0] * pixels_of(config, key, first)
    products = sum(p.macs_per_px for p in matrix_products(config))
    assert products + depthwise == pytest.approx(macs_per_px(config), abs=1)
    assert depthwise_share(config) == pytest.approx(depthwise / macs_per_px(config), abs=1e-3)


def pixels_of(config: NetConfig, key: str, first: tuple[int, ...]) -> float:
    """Pixels of a block per image pixel, from its channels: each halving doubles them."""
    return (config.width / first[1]) ** 2


@pytest.mark.parametrize(
    ("length", "size", "halo", "stride"),
    [(200, 96, 16, 4), (203, 96, 16, 4), (97, 96, 16, 4), (96, 96, 16, 4), (50, 96, 16, 4),
     (1021, 208, 80, 16)],
)  # fmt: skip
def test_windows_keep_every_pixel_once_with_its_halo(
    length: int, size: int, halo: int, stride: int
) -> None:
    seen = np.zeros((length, 70), int)
    cut = windows((length, 70), size, halo, stride)
    for w in cut:
        seen[w.keep_y, w.keep_x] += 1
        assert w.y.start % stride == 0 and w.y.stop <= length
        assert w.keep_y.start == 0 or w.keep_y.start - w.y.start >= halo
        assert w.keep_y.stop == length or w.y.stop - w.keep_y.stop >= halo
        assert w.inside_y.start >= 0
    assert (seen == 1).all()
    assert len({w.y.stop - w.y.start for w in cut}) == 1, "one size, for static shapes"


@pytest.mark.parametrize("name", LAYOUTS)
def test_window_sizes_leave_room_for_the_halo(name: str) -> None:
    config = LAYOUTS[name]()
    sizes = window_sizes(config, 2048)
    assert sizes
    for size in sizes:
        assert size % config.stride_px == 0 and 2 * halo_px(config) < size < 2048
        count = len(windows((2048, 2048), size, halo_px(config), config.stride_px))
        assert count in (4, 9, 16, 36)


def test_the_stream_gives_the_untiled_forwards_answer(subject: Subject) -> None:
    contender = stream(subject)
    assert contender.answer is not None
    assert difference(subject, contender.answer()) < EXACT


def test_dask_and_exact_windows_give_the_untiled_forwards_answer(subject: Subject) -> None:
    assert difference(subject, dask_overlap(subject).run()) < EXACT
    pixels, halo = subject.scaled, halo_px(SMALL)
    assert difference(subject, map_overlap(subject, pixels, 48, halo, 1)) < EXACT
    net = subject.frozen_net()

    def infer(box: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return np.asarray(net(torch.from_numpy(box)))

    cut = windows((136, 136), 2 * halo + 40, halo, SMALL.stride_px)
    assert len(cut) > 1
    assert difference(subject, tiled(infer, subject.planar().numpy(), cut)) < EXACT


def test_a_difference_shows(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles with too little overlap have seams, which the benchmark must not hide."""
    monkeypatch.setattr("unetmm.benchmark.peers.TILER_PX", 64)
    monkeypatch.setattr("unetmm.benchmark.peers.TILER_OVERLAP_PX", 4)
    assert difference(subject, power_of_two_tiler(subject).run()) > 100 * EXACT


def test_random_nets_are_the_layouts_and_do_something() -> None:
    model = random_model("unetmm", SMALL)
    assert {k: v.shape for k, v in model.tensors.items()} == tensor_shapes(SMALL)
    image = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)
    import torch

    with torch.inference_mode():
        change = model.net(torch.from_numpy(image)).numpy() - image
    assert 1e-3 < np.abs(change).max() < 100


def test_measuring_sends_times_peak_and_difference(subject: Subject) -> None:
    events: list[dict] = []
    benchmark_child.measure("stream", subject, events.append, lambda: None)
    seconds = [e["seconds"] for e in events if "seconds" in e]
    assert len(seconds) == subject.setting.repeats and min(seconds) > 0
    facts = {k: v for event in events for k, v in event.items()}
    assert facts["peak_bytes"] > 10**7 and facts["difference"] < EXACT and facts["per_px"]


def test_slow_contenders_may_be_run_less_often(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark_child, "SLOW_S", 0.0)
    for slow_repeats, expected in ((2, 2), (0, 4)):
        setting = Setting(subject.setting.model, 136, 4, slow_repeats, 2)
        events: list[dict] = []
        subject = Subject(setting, subject.files)
        benchmark_child.measure("stream", subject, events.append, lambda: None)
        assert sum("seconds" in e for e in events) == expected


def test_ratios_are_to_the_stream_and_failures_have_none() -> None:
    base = Measurement("stream", "row stream", (2.0, 4.0, 3.0), 4.0)
    other = Measurement("nchw", "plain", (30.0, 24.0, 27.0), 4.0, 10**9, 1e-7)
    start = Measurement("start", "start-up", (1.5,))
    dead = Measurement("openvino", "OpenVINO", failure="killed")
    result = BenchmarkResult("net", 2000, 2, "a processor", (base, other, start, dead))
    assert result.ratio(base) == 1 and result.ratio(other) == pytest.approx(9)
    assert result.ratio(start) is None and result.ratio(dead) is None
    assert row(other, result)[1:6] == ("6.750", "6.000 to 7.500", "9.00", "1.00 GB", "1.0e-07")
    assert row(dead, result)[-1] == "killed"
    content = json.loads(json.dumps(result.as_dict()))
    found = {m["key"]: m for m in content["measurements"]}
    assert found["nchw"]["median_s_per_mpx"] == 6.75 and found["start"]["median_s"] == 1.5
    assert found["openvino"]["failure"] == "killed"


def test_a_stream_is_compared_with_its_products_run_by_run() -> None:
    """The machine was half as fast for the second turn, and the third run had nobody beside it."""
    stream = Measurement("stream", "row stream", (3.0, 5.6, 9.0), 4.0, note="from array to array")
    given = Measurement("stream-calibrated", "row stream, calibrated", failure="killed")
    half = Measurement("stream-bf16", "row stream, bf16", (1.0,), 4.0)
    products = Measurement("matrix", "its matrix products", (2.0, 4.0), 4.0)
    result = BenchmarkResult("net", 2000, 2, "a processor", (stream, given, products, half))
    assert result.times_products(stream) == (pytest.approx(1.45), 1.4, 1.5)
    for other in (given, products, half):
        assert result.times_products(other) is None
    note = "from array to array; 1.45 x its matrix products (1.40 to 1.50)"
    assert row(stream, result)[-1] == note and row(products, result)[-1] == ""
    found = result.as_dict()["measurements"]
    assert [m.get("min_times_its_products") for m in found] == [1.4, None, None, None]


def run_stand_ins(
    script: str, keys: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[BenchmarkResult, list[Step]]:
    """A benchmark of some contenders whose processes run a script instead."""
    stand_in = folder / "child.py"
    stand_in.write_text(script)
    monkeypatch.setattr("unetmm.benchmark.session.CHILD", (str(stand_in),))
    kept = {k: v for k, v in OWN.items() if k in keys}
    monkeypatch.setattr("unetmm.benchmark.contenders.OWN", kept)
    steps: list[Step] = []
    return run_benchmark(Setting("nafnet-32", 100), steps.append), steps


def test_a_contender_that_dies_does_not_end_the_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is killed as the system kills for memory, one finds no memory, one has an error."""
    script = (
        "import os, sys, json, signal\n"
        "key, descriptor = sys.argv[1], int(sys.argv[4])\n"
        "if key == 'nchw': os.kill(os.getpid(), signal.SIGKILL)\n"
        "if key == 'channels-last':\n"
        "    os.write(descriptor, json.dumps({'failure': 'needs more'}).encode()); sys.exit(1)\n"
        "if key == 'matrix': raise RuntimeError('broken')\n"
        "if key == 'stream':\n"
        "    for event in ({'setup_s': 1, 'note': ''}, {'warm_s': 1}, {'seconds': 2.0,\n"
        "        'repeats': 1}, {'peak_bytes': 5, 'difference': None, 'per_px': True}):\n"
        "        os.write(descriptor, json.dumps(event).encode() + b'\\n')\n"
    )
    result, steps = run_stand_ins(
        script, ("nchw", "channels-last", "matrix", "stream"), tmp_path, monkeypatch
    )
    found = {m.key: m for m in result.measurements}
    assert "more memory" in found["nchw"].failure
    assert found["channels-last"].failure == "needs more"
    assert found["matrix"].failure == "RuntimeError: broken"
    assert found["stream"].median == pytest.approx(200) and not found["stream"].failure
    assert any(step.what.startswith("failed") for step in steps)


def test_a_stream_and_its_bound_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run begins when the parent asks for it, and not before."""
    script = (
        "import os, sys, json\n"
        "key, descriptor = sys.argv[1], int(sys.argv[4])\n"
        "def send(**event): os.write(descriptor, json.dumps(event).encode() + b'\\n')\n"
        "if key == 'prepare': sys.exit()\n"
        "repeats = 3 if key == 'matrix' else 2\n"
        "send(setup_s=1, note='')\n"
        "send(warm_s=1)\n"
        "for _ in range(repeats):\n"
        "    assert sys.stdin.readline() == '\\n'\n"
        "    send(seconds=2.0, repeats=repeats)\n"
        "send(peak_bytes=5, difference=None, per_px=True)\n"
    )
    result, steps = run_stand_ins(script, ("nchw", "stream", "matrix"), tmp_path, monkeypatch)
    assert [(m.key, len(m.seconds)) for m in result.measurements] == [
        ("nchw", 2),
        ("stream", 2),
        ("matrix", 3),
    ]
    runs = [step.label.split()[-1] for step in steps if step.what.startswith("run ")]
    assert runs == ["forward", "forward", "stream", "products", "stream", "products", "products"]


def test_the_command_measures_in_processes_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("unetmm.benchmark.contenders.OWN", {"stream": OWN["stream"]})
    assert run_cli(["benchmark", "--size", "64", "--repeat", "2", "--json"]) == 0
    shown = capsys.readouterr()
    content = json.loads(shown.out)
    (found,) = content["measurements"]
    assert len(found["seconds"]) == 2 and found["times_the_stream"] == 1
    assert found["median_s_per_mpx"] == pytest.approx(sum(found["seconds"]) / 2 / 0.064**2)
    assert 10**8 < found["peak_bytes"] < 10**9
    assert "row stream: run 2 of 2" in shown.err


def test_what_cannot_be_measured_is_refused_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ShapeError, match="there are openvino"):
        run_benchmark(Setting("tiny-rgb", peers=("nobody",)))
    with pytest.raises(ShapeError, match="at least 64 px"):
        run_benchmark(Setting("tiny-rgb", 32))
    with pytest.raises(WeightsError, match='no model "nothing"'):
        run_benchmark(Setting("nothing"))
    assert run_cli(["benchmark", "--peer", "nobody"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_peer_that_is_not_installed_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ShapeError, match="pip install onnxruntime onnx onnxscript"):
        run_benchmark(Setting("tiny-rgb", peers=("onnxruntime",)))
