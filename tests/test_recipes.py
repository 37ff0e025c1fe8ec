"""The SLURM recipes of the book, with commands that stand in for SLURM's and for the training."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

RECIPES = Path(__file__).resolve().parents[1] / "book" / "recipes"
STAND_INS = {
    # a training that ends by itself, or stops at SIGTERM as `spineseg train` does
    "spineseg": """echo "$@" >train; echo $$ >running; trap "exit 143" TERM
        for _ in $(seq $ROUNDS); do sleep 0.05; done; exit $STATUS""",
    "torchrun": 'exec spineseg torchrun "$@"',
    "srun": 'exec "$@"',
    "scancel": 'echo "$@" >signalled; kill -TERM $(cat running)',
    "scontrol": 'if [ "$1" = show ]; then printf "first\\nsecond\\n"; else echo "$@" >requeued; fi',
}


@pytest.fixture
def submit(tmp_path):
    """Start a recipe as a batch step would be."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, program in STAND_INS.items():
        (tools / name).write_text(f"#!/bin/bash\n{program}\n")
        (tools / name).chmod(0o755)

    def start(recipe, *, rounds, status=0):
        more = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_NUM_NODES": "2"}
        environment = os.environ | more | {"ROUNDS": str(rounds), "STATUS": str(status)}
        environment["PATH"] = f"{tools}:{environment['PATH']}"
        return subprocess.Popen(["bash", RECIPES / recipe, "--run", "a run"], cwd=tmp_path, env=environment)

    return start


@pytest.mark.parametrize("recipe", sorted(file.name for file in RECIPES.glob("*.sbatch")))
def test_a_recipe_that_is_told_to_stop_waits_for_the_training_and_queues_itself_again(submit, tmp_path, recipe):
    job = submit(recipe, rounds=1200)
    deadline = time.monotonic() + 30
    while not (tmp_path / "train").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)  # the training listens now
    job.send_signal(signal.SIGTERM)
    assert job.wait(30) == 143
    assert (tmp_path / "requeued").read_text().split() == ["requeue", "7"]


@pytest.mark.parametrize("status", [0, 1])
@pytest.mark.parametrize("recipe", sorted(file.name for file in RECIPES.glob("*.sbatch")))
def test_a_recipe_that_ends_is_not_queued_again(submit, tmp_path, recipe, status):
    assert submit(recipe, rounds=0, status=status).wait(30) == status
    assert not (tmp_path / "requeued").exists()


def test_one_node_of_two_is_where_all_meet(submit, tmp_path):
    assert submit("train_nodes.sbatch", rounds=0).wait(30) == 0
    words = (tmp_path / "train").read_text()
    assert "--rdzv-endpoint first:29500" in words and "--nnodes 2" in words and words.strip().endswith("--run a run")
