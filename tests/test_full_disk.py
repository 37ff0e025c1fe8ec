"""A disk that is full, or read-only, at each file that a training, a prediction or a report writes."""

import errno
import os

import pytest
from conftest import column_of_vertebrae
from test_steps import BOTH, site  # noqa: F401

from spineseg.cli import main
from spineseg.data import atomic, nifti
from spineseg.learning import training
from spineseg.learning.training import train
from spineseg.paths import build_folder, run_folder

TRAINING = (
    "splits.csv", "config.json", "provenance.json", "history.csv", "history_vertebrae.csv", "baseline-best.json",
    "baseline-best.safetensors", "baseline-last.json", "baseline-last.safetensors", "baseline-previous.json",
    "baseline-previous.safetensors",
)  # fmt: skip
WORDS = {errno.ENOSPC: "No space left on device", errno.EROFS: "Read-only file system"}


@pytest.fixture
def full(monkeypatch):
    """Let the next flush of a file of some name fail, once; says whether it did."""

    def at(name, number=errno.ENOSPC):
        flush, failed = atomic._flush, []

        def failing(path):
            if path.name.endswith(f"-{name}") and path.is_file() and not failed:
                failed.append(path)
                raise OSError(number, os.strerror(number), str(path))
            flush(path)

        monkeypatch.setattr(atomic, "_flush", failing)
        return failed

    return at


def files(run):
    return {p.name: p.read_bytes() for p in sorted((run_folder(run) / "checkpoints").glob("*.safetensors"))}


@pytest.fixture(scope="module")
def undisturbed(home):
    from conftest import TINY

    from spineseg.config import Config

    train(Config.load("smoke", "room", 3, **TINY), "baseline")
    return files("room")


@pytest.mark.parametrize("number", WORDS)
@pytest.mark.parametrize("name", TRAINING)
def test_a_training_that_cannot_write_a_file_goes_on_when_it_can(tiny, undisturbed, full, name, number):
    config = tiny(f"full-{name}-{number}", 3)
    failed = full(name, number)
    with pytest.raises(OSError, match=WORDS[number]):
        train(config, "baseline")
    left = [p.name for p in run_folder(config.run).rglob(".*") if p.is_file() and p.name != ".lock"]
    assert len(failed) == 1 and not left
    train(config, "baseline")
    assert files(config.run) == undisturbed


def test_the_command_line_says_in_one_line_what_could_not_be_written(tiny, full, capsys, monkeypatch):
    monkeypatch.setattr(training, "train", lambda config, method: train(tiny("full-command"), "baseline"))
    full("baseline-last.safetensors")
    assert main(["train", "--profile", "smoke", "--run", "full-command", "--method", "baseline"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "No space left on device" in said and "baseline-last.safetensors" in said


@pytest.mark.parametrize("name", ["a_vertebrae.csv", "a_seg.nii.gz"])
def test_a_prediction_that_cannot_be_written_leaves_the_old_one(trained, tmp_path, full, capsys, name):
    ct, _, affine = column_of_vertebrae(9)
    nifti.write(tmp_path / "a.nii.gz", ct, affine)
    words = ["predict", str(tmp_path / "a.nii.gz"), "--out", str(tmp_path / "out"), "--run", "trained"]
    assert main(words) == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    full(name)
    assert main(words) != 0 and "No space left" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize(("name", "again"), [("01_a.json", BOTH), ("02_b.json", ["02_b"]), ("manifest.json", [])])
def test_a_report_that_cannot_write_a_record_does_that_step_again(site, full, name, again):  # noqa: F811
    failed = full(name)
    with pytest.raises(OSError, match="No space left"):
        site.report()
    assert failed and not (build_folder("smoke") / "manifest.json").is_file()
    assert site.report() == again and (build_folder("smoke") / "manifest.json").is_file()
