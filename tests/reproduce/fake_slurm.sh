#!/bin/sh
# Stands for sbatch, squeue and scancel, by the name under which it is called. The jobs are folders
# in $FAKE_SLURM with the files options, script and state ("RUNNING 0"). If there is a file `runs`,
# sbatch runs the script at once; if there is a file `down`, Slurm does not answer.
name=$(basename "$0")
if [ -e "$FAKE_SLURM/down" ]; then
    echo "$name: error: Unable to contact slurm controller" >&2
    exit 1
fi
case $name in
sbatch)
    number=$(($(ls -d "$FAKE_SLURM"/job* 2>/dev/null | wc -l) + 1))
    job=$FAKE_SLURM/job$number
    mkdir "$job"
    echo "$@" >"$job/options"
    cat >"$job/script"
    echo "RUNNING 0" >"$job/state"
    if [ -e "$FAKE_SLURM/runs" ]; then
        for word in "$@"; do
            case $word in --output=*) log=${word#--output=} ;; esac
        done
        (
            SLURM_CPUS_ON_NODE=1 sh "$job/script"
            code=$?
            if [ $code = 0 ]; then echo "COMPLETED 0"; else echo "FAILED $((code * 256))"; fi >"$job/state"
        ) >"$log" 2>&1 </dev/null &
    fi
    echo "$number"
    ;;
squeue)
    for job in "$FAKE_SLURM"/job*; do
        [ -e "$job/state" ] && echo "${job##*job} $(cat "$job/state")"
    done
    true
    ;;
scancel) echo "$@" >>"$FAKE_SLURM/cancelled" ;;
esac
