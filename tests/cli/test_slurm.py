"""The batch script: what it asks for, and that its command means the same again."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import typer
from helpers import lively_model

from unetmm.models.weights import save_model
from unetmm.nets.config import NetConfig
from unetmm.plan.share import Share
from unetmm_cli.__main__ import run as run_command
from unetmm_cli.commands.slurm import JobArray, option_words, sbatch_options
from unetmm_cli.options.choices import Choices
from unetmm_cli.parsing import parse_range, parse_share, parse_strength


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "my scan.tif"
    tifffile.imwrite(path, np.zeros((300, 200), np.uint16))
    return path


def script_of(capsys: pytest.CaptureFixture[str], *words: Any) -> str:
    words = ("--mem-budget", "2GB", *words)
    assert run_command(["slurm", *map(str, words)]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def command_of(script: str) -> list[str]:
    """Words of the command that srun starts."""
    lines = script.replace("\\\n", " ").splitlines()
    (line,) = [line for line in lines if line.startswith("srun")]
    words = shlex.split(line.removesuffix("&"))
    return words[words.index("unetmm_cli") + 1 :]


def test_the_script_asks_for_what_the_run_needs(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.ome.zarr"
    script = script_of(
        capsys, image, "-o", output, "--tasks", 5, "--time", "2-00:30:00", "--mem-budget",
        "1000MiB", "--cores", 3,
    )  # fmt: skip
    asked = {line.removeprefix("#SBATCH --") for line in script.splitlines() if "#SBATCH" in line}
    assert asked == {
        "job-name=unetmm-out.ome.zarr", "array=1-5", "ntasks=1", "cpus-per-task=3", "mem=1050M",
        "time=2-00:30:00", "signal=B:USR1@120", "requeue", "open-mode=append",
    }  # fmt: skip
    assert "export UNETMM_SHARES=5\n" in script and f"cd {shlex.quote(os.getcwd())}\n" in script
    assert script.startswith("#!/bin/bash\n#SBATCH")
    command = ["denoise", str(image), "-o", str(output), "--share", "auto"]
    command += ["--mem-budget", str(1000 * 2**20), "--cores=3"]
    assert command_of(script) == command
    assert not output.exists() and list(tmp_path.iterdir()) == [image]


def test_options_for_sbatch_and_a_gpu(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(*words: str) -> list[str]:
        script = script_of(capsys, image, "-o", tmp_path / "o.tif", *words)
        assert command_of(script)[1:3] == [str(image), "-o"]
        return [line for line in script.splitlines() if line.startswith("#SBATCH")][9:]

    assert asked("--nodes", "3") == []  # as it was called
    more = ["--partition=long", "-A=lab", "--exclusive"]
    assert asked("--", *more) == [f"#SBATCH {word}" for word in more]


def test_gpus_are_asked_for_once() -> None:
    choices = Choices().changed(device="cuda")
    array = JobArray([], "o", 1, "1:00", 1)
    assert sbatch_options(array, choices) == ["--gres=gpu:1"]
    own = replace(array, asked=("--gres=gpu:h100:1",))
    assert sbatch_options(own, choices) == list(own.asked)


def test_a_broken_image_is_no_reason_to_print_no_script(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*")
    words = ["slurm", str(tmp_path), "-o", f"{tmp_path}/out/", "--mem-budget", "2GB"]
    assert run_command(words) == 0
    shown = capsys.readouterr()
    assert "a.tif" in shown.err and "the jobs will leave it out" in shown.err
    assert shown.out.startswith("#!/bin/bash")
    image.unlink()
    assert run_command(words) == 1


def test_a_model_for_something_else_gets_its_command(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = lively_model(NetConfig(1, 1, 8, (1,), 1, (1,)))
    for task, command in (("deblur", "deblur"), ("colourise", "restore")):
        path = tmp_path / f"{task}.safetensors"
        save_model(path, model.config, model.tensors, {"task": task})
        words = ["slurm", str(image), "-o", str(tmp_path / "o.tif"), "--model", str(path)]
        assert run_command([*words, "--mem-budget", "1GB"]) == 0
        assert f" {command} " in capsys.readouterr().out


def test_pbs_has_to_be_told_how_many_tasks_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PBS_ARRAY_INDEX", "2")
    with pytest.raises(typer.BadParameter, match="set UNETMM_SHARES"):
        parse_share("auto")
    monkeypatch.setenv("UNETMM_SHARES", "8")
    assert parse_share("auto") == Share(1, 8)


def test_options_come_out_as_they_went_in(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--range=-5.0,20.0", "--strength=0.5", "--planes=T=0:1,Z=0:", "--channels=0"]
    given += ["--model=tiny-mono", "--format=tiff", "--no-pyramid", "--overwrite"]
    script = script_of(capsys, image, "-o", tmp_path / "o.tif", *given)
    assert set(given) <= set(command_of(script))
    again = script_of(capsys, image, "-o", tmp_path / "o.tif", *option_words_of(script))
    assert command_of(again)[-len(given) :] == command_of(script)[-len(given) :]
    choices = Choices().changed(
        range=parse_range("-5,20"), strength=parse_strength("0.5"), quiet=True
    )
    assert set(option_words(choices)) == {"--range=-5.0,20.0", "--strength=0.5", "--quiet"}
    choices = Choices().changed(
        strength=0.0, cores=1, pyramid=False, compression="none", shard_px=1024, ome_zarr="0.4"
    )
    assert set(option_words(choices)) == {
        "--strength=0.0", "--cores=1", "--no-pyramid", "--compression=none", "--shard-px=1024",
        "--ome-zarr=0.4",
    }  # fmt: skip


def option_words_of(script: str) -> list[str]:
    return [word for word in command_of(script) if word.startswith("--") and word != "--share"][1:]


@pytest.mark.parametrize(
    ("given", "code", "named"),
    [
        (["--time", "soon"], 2, "not a time limit"),
        (["--time", "99:99:99"], 2, "not a time limit"),
        (["--time", "2-24"], 2, "not a time limit"),
        (["--share", "1/2"], 2, "leave out --share"),
        (["--cluster", "slurm"], 2, "leave out --share and clusters"),
        (["--watch"], 2, "No such option"),
        (["--", "-partition long"], 2, "is no option of sbatch; write it as --name=value"),
        (["-o", "-"], 1, "no stdout"),
        (["--mem-budget", "1MB"], 1, "udget"),
    ],
)
def test_what_cannot_run_is_refused_before_it_is_submitted(
    image: Path,
    tmp_path: Path,
    given: list[str],
    code: int,
    named: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["slurm", str(image), "-o", str(tmp_path / "o.tif"), "--mem-budget", "2GB"]
    assert run_command([*words, *given]) == code
    shown = capsys.readouterr()
    assert named in " ".join(shown.err.split()) and not shown.out


def test_the_memory_of_the_jobs_is_asked_for(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["slurm", str(image), "-o", str(tmp_path / "o.tif")]) == 2
    shown = capsys.readouterr()
    assert "give --mem-budget, each job's" in shown.err and not shown.out


def test_several_images_go_where_the_run_puts_them(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = f"{tmp_path}/new/"
    script = script_of(capsys, image, "-o", output)
    assert command_of(script)[1:4] == [str(image), "-o", output]
    assert not (tmp_path / "new").exists()
    words = ["slurm", str(tmp_path), "-o", str(tmp_path), "--mem-budget", "2GB"]
    assert run_command(words) == 1
    assert "would be the input itself; give --suffix" in capsys.readouterr().err
    tifffile.imwrite(tmp_path / "my scan_dn.tif", np.zeros((300, 200), np.uint16))
    assert run_command([*words, "--suffix", "_dn"]) == 0
    assert "left out 1 image that is an output of this command" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("task", "stopped"), [("kill -USR1 $PPID; sleep 5", True), ("true", False)]
)
def test_a_task_out_of_time_is_queued_again(
    image: Path, tmp_path: Path, task: str, stopped: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The script under bash, with srun and scontrol that do what Slurm's would."""
    script = script_of(capsys, image, "-o", tmp_path / "o.tif")
    tools = {
        "srun": f"trap 'exit 130' USR1\n{task} &\nwait\n",
        "scontrol": f'echo "$@" > {tmp_path}/said\n',
    }
    for name, text in tools.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}")
        (tmp_path / name).chmod(0o755)
    bash = shutil.which("bash")
    assert bash is not None
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "17"}
    done = subprocess.run([bash, "-c", script], env=environment, timeout=30)
    assert done.returncode == (130 if stopped else 0)
    assert (tmp_path / "said").exists() == stopped
    if stopped:
        assert (tmp_path / "said").read_text() == "requeue 17\n"


def test_auto_without_a_job_array_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_ARRAY_TASK_ID", "PBS_ARRAY_INDEX", "LSB_JOBINDEX"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(typer.BadParameter, match="none of SLURM_ARRAY_TASK_ID, .* is set"):
        parse_share("auto")
