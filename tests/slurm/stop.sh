#!/bin/bash
# Ends what start.sh started, and nothing else.
folder=${SLURM_TEST:-/tmp/unetmm-slurm}
SLURM_CONF=$folder/slurm.conf timeout 10 scancel --user=root 2>/dev/null
for pid in "$folder/slurmd.pid" "$folder/slurmctld.pid" "$folder/munge/pid"; do
    [ -s "$pid" ] && kill "$(cat "$pid")" 2>/dev/null
done
exit 0
