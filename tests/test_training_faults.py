"""What a training does when it is cut short, starved or given damaged files."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
import warnings

import pytest
import torch

from spineseg.cli import main
from spineseg.config import Config
from spineseg.errors import CaseError, Interrupted, OutOfMemory
from spineseg.learning import checkpoints, runs
from spineseg.learning.module import NetworkTraining
from spineseg.learning.training import train
from spineseg.paths import run_folder

LONG = {"baseline.steps_per_epoch": 3}


def checkpoint(config, name="baseline-last"):
    return run_folder(config.run) / "checkpoints" / f"{name}.safetensors"


def files(config):
    return {p.name: p.read_bytes() for p in sorted(checkpoint(config).parent.glob("*.safetensors"))}


@pytest.fixture
def undisturbed(tiny):
    config = tiny("undisturbed", 3, **LONG)
    train(config, "baseline")
    return files(config)


def signalled_at(monkeypatch, step, signum):
    """Send this process a signal in the middle of some step."""
    inside = NetworkTraining._step

    def sending(self, batch):
        inside(self, batch)
        if self.done_steps == step:
            os.kill(os.getpid(), signum)

    monkeypatch.setattr(NetworkTraining, "_step", sending)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("step", [1, 3, 4, 5, 9])  # inside an epoch, at its end, after the last step of all
def test_a_signal_leaves_a_checkpoint_and_the_run_ends_as_an_undisturbed_one(
    tiny, undisturbed, monkeypatch, step, signum
):
    config = tiny(f"cut{step}{signum}", 3, **LONG)
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        signalled_at(patch, step, signum)
        with pytest.raises(Interrupted, match="say the same again"):
            train(config, "baseline")
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    _, state = checkpoints.load(checkpoint(config))
    assert state["steps"] == step  # nothing was lost
    train(config, "baseline")
    assert files(config)["baseline-last.safetensors"] == undisturbed["baseline-last.safetensors"]
    assert files(config)["baseline-best.safetensors"] == undisturbed["baseline-best.safetensors"]


def test_a_damaged_checkpoint_is_said_and_the_one_before_it_taken(tiny, undisturbed):
    config = tiny("flipped", 2, **LONG)
    train(config, "baseline")
    path = checkpoint(config)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.warns(UserWarning, match="other bytes.*going on from the checkpoint before it"):
        train(tiny("flipped", 3, **LONG), "baseline")
    assert len(files(config)) == 3


def test_without_one_that_can_be_read_nothing_is_trained_anew(tiny):
    config = tiny("lost", 2)
    train(config, "baseline")
    for path in checkpoint(config).parent.iterdir():
        path.unlink()
    with pytest.raises(CaseError, match="the checkpoint of 2 epochs"):
        train(tiny("lost", 3), "baseline")


def test_a_write_that_is_cut_short_leaves_a_checkpoint_that_loads(tmp_path, monkeypatch):
    path, keep = tmp_path / "a-last.safetensors", tmp_path / "a-previous.safetensors"
    old, new = {"w": torch.zeros(3)}, {"w": torch.ones(3)}
    checkpoints.save(path, old, {"epochs": 1}, keep=keep)
    renames = []

    class Dead(BaseException):
        pass

    replace = os.replace
    for deadly in range(5):
        renames.clear()

        def dying(source, target, deadly=deadly):
            if len(renames) == deadly:
                raise Dead
            renames.append(target)
            replace(source, target)

        monkeypatch.setattr(os, "replace", dying)
        died = False
        try:
            checkpoints.save(path, new, {"epochs": 2}, keep=keep)
        except Dead:
            died = True
        monkeypatch.undo()
        tensors, state = checkpoints.load(path)
        assert state["epochs"] == (1 if died else 2) and tensors["w"][0] == state["epochs"] - 1
        checkpoints.save(path, old, {"epochs": 1}, keep=keep)
    assert not died  # all four renames were met


def test_a_full_disk_is_said_before_anything_is_written(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    checkpoints.save(path, {"w": torch.zeros(3)}, {})
    before = path.read_bytes()
    full = os.statvfs(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10, "total": full.f_blocks})())
    with pytest.raises(CaseError, match="make room"):
        checkpoints.save(path, {"w": torch.ones(3)}, {})
    assert path.read_bytes() == before


def test_a_second_training_in_the_same_folder_is_refused_and_a_dead_one_holds_nothing(tiny):
    config = tiny("busy", 1)
    train(config, "baseline")
    code = "import sys, time; from pathlib import Path; from spineseg.learning import runs\n"
    code += "with runs.alone(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code, run_folder("busy")], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(CaseError, match=f"another process works in it .process {other.pid}"):
            train(tiny("busy", 2), "baseline")
    finally:
        other.kill()
        other.wait()
    train(tiny("busy", 2), "baseline")


def test_other_threads_are_said(tiny, monkeypatch):
    train(tiny("threads", 1), "baseline")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    with pytest.warns(UserWarning, match="goes on with 77"):
        train(tiny("threads", 2), "baseline")


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA"), MemoryError(), RuntimeError("can't allocate memory")]
)
def test_a_step_that_does_not_fit_says_what_would(tiny, monkeypatch, error):
    config = tiny("large", 2)

    def starve(self, batch):
        raise error

    monkeypatch.setattr(NetworkTraining, "_step", starve)
    with pytest.raises(OutOfMemory, match=r"does not fit into .* GB; try --.*the last checkpoint is whole"):
        train(config, "baseline")


def test_other_errors_of_a_step_stay_what_they_are(tiny, monkeypatch):
    def fail(self, batch):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(NetworkTraining, "_step", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        train(tiny("odd", 1), "baseline")


def test_a_fork_goes_on_under_another_configuration(tiny):
    config = tiny("origin", 1)
    train(config, "baseline")
    other = tiny("fork", 2, **{"training.weight_decay": 0.1})
    with pytest.raises(ValueError, match="--fork origin"):
        train(tiny("origin", 2, **{"training.weight_decay": 0.1}), "baseline")
    runs.fork(other, "origin")
    history = train(other, "baseline")
    assert history["epoch"].tolist() == [1, 2] and history["step"].iloc[1] == 2 * history["step"].iloc[0]
    told = json.loads((run_folder("fork") / "fork.json").read_text())
    assert any("weight_decay" in line for line in told["differences"])
    with pytest.raises(CaseError, match="a folder of this name"):
        runs.fork(other, "origin")
    with pytest.raises(CaseError, match="no checkpoint"):
        runs.fork(tiny("nothing", 1), "nowhere")


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.2])
def test_kill_9_costs_at_most_an_epoch_and_changes_no_byte(tiny, undisturbed, home, seconds):
    config = tiny("killed", 3, **LONG)
    script = (
        "import json, sys, warnings; from spineseg.config import Config; from spineseg.learning.training import train\n"
        "import torch; torch.set_num_threads(int(sys.argv[2])); warnings.simplefilter('ignore')\n"
        "train(Config.from_dict(json.loads(sys.argv[1])), 'baseline')"
    )
    command = [sys.executable, "-c", script, json.dumps(config.to_dict()), str(torch.get_num_threads())]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not checkpoint(config).is_file() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(seconds)
    child.kill()
    child.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # whatever was cut short, the last checkpoint can be read
        train(config, "baseline")
    assert files(config)["baseline-last.safetensors"] == undisturbed["baseline-last.safetensors"]


def test_a_network_on_a_plateau_is_trained_no_further(tiny, monkeypatch):
    from spineseg.learning.validation import Tally

    summary, losses = Tally.summary, iter([3.0, 2.0, 2.5, 2.0, 1.0, 1.0])
    monkeypatch.setattr(Tally, "summary", lambda self: summary(self) | {"validation_loss": next(losses)})
    plateau = {"training.patience": 2, "training.validate_every": 1}
    assert train(tiny("plateau", 6, **plateau), "baseline")["epoch"].max() == 4
    assert train(tiny("plateau", 6, **plateau), "baseline")["epoch"].max() == 4  # and not when asked again
    assert train(tiny("plateau", 6, **(plateau | {"training.patience": 0})), "baseline")["epoch"].max() == 6


def test_a_killed_maker_of_phantoms_is_named_with_its_likely_cause(monkeypatch):
    from concurrent.futures import Future
    from concurrent.futures.process import BrokenProcessPool

    from spineseg.learning import endless

    class Broken:
        def submit(self, *_):
            future = Future()
            future.set_exception(BrokenProcessPool("gone"))
            return future

    monkeypatch.setattr(endless, "ProcessPoolExecutor", lambda *_, **__: Broken())
    supply = endless.EndlessItems(Config.load("smoke", **{"fine.phantom_uses": 1}), "fine", 0)
    with pytest.raises(RuntimeError, match="want of memory; lower --cluster.makers"):
        supply[0]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Interrupted("fine, epoch 3", signal.SIGTERM), 143),
        (Interrupted("fine, epoch 3", signal.SIGINT), 130),
        (OutOfMemory("too large"), 3),
        (CaseError("run-busy", "runs/a", "busy", "idle", "wait"), 1),
    ],
)
def test_each_end_has_its_own_exit_status_and_one_line(monkeypatch, capsys, error, status):
    def end(*_):
        raise error

    monkeypatch.setattr("spineseg.learning.training.train", end)
    assert main(["train", "--profile", "smoke", "--method", "baseline"]) == status
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(error) in said
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_run_that_cannot_be_written_is_named(tiny, home):
    if os.geteuid() == 0:
        (home / "runs").mkdir(exist_ok=True)
        (home / "runs" / "blocked").write_text("a file where the folder should be")  # root may write anywhere
    else:
        (home / "runs" / "blocked").mkdir(parents=True, mode=0o500)
    with pytest.raises(OSError, match="blocked"):
        train(tiny("blocked", 1), "baseline")
