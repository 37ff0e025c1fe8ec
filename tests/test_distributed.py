"""Two processes that train together do what one does with the whole batch."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from spineseg.learning import checkpoints
from spineseg.learning.losses import loss_by_name
from spineseg.learning.together import Group
from spineseg.learning.training import train
from spineseg.paths import run_folder

LOSSES = ("dice", "dice_ce", "dice_ce_binary")


def batch():
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(4, 1, 6, 5, 4, generator=generator)
    labels = torch.randint(0, 5, (4, 6, 5, 4), generator=generator)
    labels[:2][labels[:2] == 4] = 0  # a class that only one of the processes sees
    return image, labels


def gradients(wrap, image, labels, name):
    torch.manual_seed(1)
    network = wrap(nn.Conv3d(1, 5, 3, padding=1))
    loss = loss_by_name(name, naming=0.3)(network(image), labels)
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in network.parameters()]


def one_of_two(rank, folder):
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    image, labels = batch()
    mine = slice(2 * rank, 2 * rank + 2)
    found = {name: gradients(DistributedDataParallel, image[mine], labels[mine], name) for name in LOSSES}
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """Losses and gradients of two processes, by rank."""
    folder = tmp_path_factory.mktemp("two")
    multiprocessing.spawn(one_of_two, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradients_of_two_processes_are_those_of_one(apart, name):
    loss, expected = gradients(lambda network: network, *batch(), name)
    for found in apart:
        other, grads = found[name]
        assert torch.allclose(other, loss, atol=1e-6)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(grads, expected, strict=True))


WHOLE = {"baseline.batch": 2, "fine.batch": 2, "baseline.steps_per_epoch": 2, "fine.steps_per_epoch": 2}
PROGRAM = """
import json, sys
from spineseg.config import Config
from spineseg.learning.training import train
config = Config.from_dict(json.loads(sys.argv[1]))
for method in ("baseline", "cascade"):
    train(config, method)
"""


def together(config, folder):
    """Both methods trained by two processes, as torchrun starts them."""
    program = folder / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(
        [*command, json.dumps(config.to_dict())], env=environment, stderr=subprocess.PIPE, text=True
    )


def compare(one, two):
    """Histories to 1e-5; weights as a whole, since steps have their full length on a gradient that is but rounding."""
    rows = [pd.read_csv(run_folder(c.run) / "history.csv").drop(columns="seconds") for c in (one, two)]
    assert len(rows[0]) == 3 * one.training.epochs and rows[0].train_loss.notna().all()
    pd.testing.assert_frame_equal(*rows, rtol=0, atol=1e-5)
    for name in ("baseline", "coarse", "fine"):
        paths = [run_folder(c.run) / "checkpoints" / f"{name}-last.safetensors" for c in (one, two)]
        a, b = (checkpoints.part(checkpoints.load(p)[0], "network") for p in paths)
        a, b = (torch.cat([tensors[key].flatten() for key in sorted(tensors)]) for tensors in (a, b))
        assert (a - b).norm() < 2e-3 * a.norm()


def test_two_processes_train_both_methods_as_one_does(tiny, tmp_path):
    one, two = tiny("one-process", 2, **WHOLE), tiny("two-processes", 2, **WHOLE)
    running = together(two, tmp_path)
    for method in ("baseline", "cascade"):
        train(one, method)
    assert running.wait(timeout=240) == 0, running.stderr.read()
    compare(one, two)


def test_two_processes_that_are_stopped_leave_what_one_goes_on_with(tiny, tmp_path):
    one, two = tiny("not-stopped", 12, **WHOLE), tiny("both-stopped", 12, **WHOLE)
    running = together(two, tmp_path)
    last = run_folder(two.run) / "checkpoints" / "baseline-last.json"
    until = time.monotonic() + 120
    while not last.is_file() and running.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=60)
    assert running.returncode != 0 and "stopped by SIGTERM" in said
    assert not (last.parent / "coarse-last.json").is_file()
    for config in (two, one):
        for method in ("baseline", "cascade"):
            train(config, method)
    compare(one, two)


def test_a_batch_is_dealt_out_evenly_or_done_by_all():
    shares = [list(Group(rank, 3).share(6, "fine")) for rank in range(3)]
    assert shares == [[0, 3], [1, 4], [2, 5]]
    assert list(Group(2, 3).share(1, "coarse")) == [0] and list(Group().share(4, "fine")) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="fine.batch must be a multiple of the 3 processes, got 4.*--fine.batch 6"):
        Group(0, 3).share(4, "fine")


def test_a_batch_that_cannot_be_dealt_out_is_refused_before_anything_is_prepared(tiny, monkeypatch):
    monkeypatch.setattr("spineseg.learning.together.group", lambda: Group(0, 3))
    monkeypatch.setattr("spineseg.learning.training.prepare_cohort", None)
    with pytest.raises(ValueError, match="fine.batch must be a multiple of the 3 processes"):
        train(tiny("uneven", 1, **WHOLE), "cascade")
