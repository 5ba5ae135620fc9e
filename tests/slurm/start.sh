#!/bin/bash
# A Slurm of one node on this machine: as root, without systemd, e.g. in a container.
# Everything it makes, the munge key and logs included, is in $SLURM_TEST (/tmp/unetmm-slurm).
set -euo pipefail

folder=${SLURM_TEST:-/tmp/unetmm-slurm}
[ "$(id -u)" = 0 ] || { echo "error: start.sh needs root" >&2; exit 1; }
if ! command -v slurmctld slurmd munged >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge
fi
if [ -s "$folder/slurmctld.pid" ] && kill -0 "$(cat "$folder/slurmctld.pid")" 2>/dev/null; then
    echo "runs already; SLURM_CONF=$folder/slurm.conf"
    exit 0
fi
rm -rf "$folder"
mkdir -p "$folder/state" "$folder/spool" "$folder/munge"

# A munge of our own, so that a configured one of this machine stays as it is.
head -c 128 /dev/urandom > "$folder/munge/key"
chown -R munge: "$folder/munge"
chmod 755 "$folder" && chmod 700 "$folder/munge/key" && chmod 755 "$folder/munge"
chmod 400 "$folder/munge/key"
runuser -u munge -- munged --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
    --pid-file="$folder/munge/pid" --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" \
    --force

memory_mib=$(awk '/MemTotal/ { print int($2 / 1024 * 0.9) }' /proc/meminfo)
cat > "$folder/slurm.conf" <<CONF
ClusterName=unetmm
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=600
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
SlurmctldPort=16817
SlurmdPort=16818
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$memory_mib State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$folder/slurm.conf
slurmctld
slurmd
for _ in $(seq 60); do
    sinfo --noheader --format=%T 2>/dev/null | grep -q '^idle' && { sinfo; exit 0; }
    sleep 0.5
done
echo "error: the node does not get idle; see $folder/slurmctld.log and slurmd.log" >&2
tail -5 "$folder/slurmctld.log" "$folder/slurmd.log" >&2
exit 1
