#!/bin/bash
# One image as a job array and on Dask workers of a real Slurm (start.sh): the same bytes as alone.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
export SLURM_CONF=${SLURM_TEST:-/tmp/unetmm-slurm}/slurm.conf
work=$(mktemp -d /tmp/unetmm-slurm-run.XXXXXX)
cd "$work"
export PYTHONPATH=$root
unetmm() { "$python" -m unetmm_cli "$@"; }
fail() { echo "FAIL $*; see $work" >&2; exit 1; }
budget=(--model tiny-mono --mem-budget 700MB --cores 1)
shares=8

# Ends when none of a job's tasks is left in the queue.
wait_for() { while [ -n "$(squeue --noheader --array --jobs "$1" 2>/dev/null)" ]; do sleep 1; done; }

mkdir alone array stopped dask
"$python" - <<'PY'
import numpy as np, tifffile
rng = np.random.default_rng(7)
y, x = np.mgrid[:8200, :3000]
clean = 2000 + 800 * np.sin(x / 37) * np.cos(y / 53)
tifffile.imwrite("in.tif", rng.poisson(clean).astype(np.uint16), tile=(256, 256))
PY
unetmm denoise in.tif -o alone/out.ome.zarr "${budget[@]}" --quiet >/dev/null
echo "alone: $(du -sm alone/out.ome.zarr | cut -f1) MB"

unetmm slurm in.tif -o array/out.ome.zarr --tasks $shares --time 10:00 "${budget[@]}" > array.sh
job=$(sbatch --parsable array.sh)
# Cancel the first share that has a chunk behind it; the rest of its rows are before it.
cancelled=
for _ in $(seq 1200); do
    journal=$(grep -ls '^0 ' array/.out.ome.zarr.part/journal-*-of-$shares | head -1) || true
    if [ -n "$journal" ]; then
        index=${journal##*/journal-}
        cancelled=$((${index%-of-*} + 1))
        scancel "${job}_$cancelled"
        break
    fi
    sleep 0.05
done
[ -n "$cancelled" ] || fail "no share could be cancelled midway"
wait_for "$job"
[ ! -e array/out.ome.zarr ] || fail "the output is whole although share $cancelled was cancelled"
echo "PASS share $cancelled of $shares cancelled midway, the output is not there yet"
again=$(sbatch --parsable --array="$cancelled" array.sh)
wait_for "$again"
[ -e array/out.ome.zarr ] || fail "share $cancelled was submitted again, the output is not there"
diff -r alone/out.ome.zarr array/out.ome.zarr || fail "the job array made other bytes"
echo "PASS job array of $shares shares: the bytes of a run alone"
unetmm verify array/out.ome.zarr >/dev/null || fail "verify"
echo "PASS its checksums hold"

# A run that is told to stop comes back by itself and goes on.
unetmm slurm in.tif -o stopped/out.ome.zarr --tasks 1 --time 10:00 "${budget[@]}" > stopped.sh
job=$(sbatch --parsable stopped.sh)
for _ in $(seq 600); do
    grep -qs '^0 ' stopped/.out.ome.zarr.part/journal-0-of-1 && break
    sleep 0.1
done
scancel --batch --signal=USR1 "${job}_1"
for _ in $(seq 100); do
    restarts=$(scontrol show job "${job}_1" | grep -o 'Restarts=[0-9]*' | cut -d= -f2)
    [ "${restarts:-0}" -gt 0 ] && break
    sleep 0.2
done
[ "${restarts:-0}" -gt 0 ] || fail "the stopped job was not queued again"
# Slurm starts it again after two minutes, until its old credential is forgotten.

export DASK_JOBQUEUE__SLURM__WALLTIME=00:10:00
unetmm denoise in.tif -o dask/out.ome.zarr "${budget[@]}" --cluster slurm --jobs 2 --quiet >/dev/null
diff -r alone/out.ome.zarr dask/out.ome.zarr || fail "the Dask workers made other bytes"
echo "PASS dask-jobqueue with 2 jobs: the bytes of a run alone"

wait_for "$job"
diff -r alone/out.ome.zarr stopped/out.ome.zarr || fail "the requeued run made other bytes"
echo "PASS stopped by USR1, queued again (Restarts=$restarts), the bytes of a run alone"
cd / && rm -rf "$work"
