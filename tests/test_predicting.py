import dataclasses
import threading
import time

import numpy as np
import psutil
import pytest
from conftest import column_of_vertebrae

from spineseg.cli import main
from spineseg.config import ClusterConfig
from spineseg.data import nifti, parallel
from spineseg.errors import CaseError
from spineseg.learning.predicting import Job, Outcome, predict_files, predict_jobs, predict_one


@pytest.fixture
def scans(tmp_path):
    """Eight small CTs."""
    files = [tmp_path / "in" / f"c{seed}.nii.gz" for seed in range(8)]
    for seed, file in enumerate(files):
        ct, _, affine = column_of_vertebrae(10 + seed)
        nifti.write(file, ct, affine)
    return files


def jobs_for(scans, folder):
    return [Job(ct, folder / f"{ct.name[:2]}_seg.nii.gz", folder / f"{ct.name[:2]}.csv") for ct in scans]


def bytes_of(jobs):
    return [(job.target.read_bytes(), job.table.read_text()) for job in jobs]


def test_two_processes_of_which_one_is_killed_write_what_one_writes(scans, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "WORTH_A_POOL_S", 0.0)
    alone, apart = jobs_for(scans, tmp_path / "alone"), jobs_for(scans, tmp_path / "apart")
    outcomes, killed = predict_jobs(alone), []

    def kill_one():
        until = time.monotonic() + 100
        while not killed and time.monotonic() < until:
            time.sleep(0.01)
            if sum(job.target.is_file() for job in apart) >= 2:  # the first one was done here
                workers = [p for p in psutil.Process().children(recursive=True) if "spawn_main" not in p.cmdline()]
                busy = [p for p in workers if p.is_running() and p.cpu_times().user > 0.3 and not p.children()]
                killed.extend(p.pid for p in busy[:1] if p.kill() is None)

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.warns(UserWarning, match="a worker process died once"):
        others = predict_jobs(apart, ClusterConfig(workers=2))
    killer.join()
    assert len(killed) == 1 and bytes_of(alone) == bytes_of(apart)
    assert all(a.table.equals(b.table) and a.changes == b.changes for a, b in zip(outcomes, others, strict=True))


def test_a_bad_scan_is_returned_as_its_error_and_the_others_are_written(scans, tmp_path):
    scans[1].write_bytes(scans[1].read_bytes()[:-9])
    jobs = jobs_for(scans[:3], tmp_path)
    kinds = [type(outcome) for outcome in predict_jobs(jobs)]
    assert kinds == [Outcome, CaseError, Outcome]
    assert [job.target.is_file() for job in jobs] == [True, False, True]


def test_a_cohort_is_predicted_to_its_end_before_its_bad_scan_is_raised(trained, scans, tmp_path):
    scans[0].write_bytes(b"")
    files = {"bad": scans[0], "good": scans[1]}
    with pytest.raises(CaseError, match="c0.nii.gz"):
        predict_files(trained, "cascade", files, tmp_path / "out")
    found = {p.name for p in (tmp_path / "out").iterdir()}
    assert found == {"good.nii.gz", "good.nii.gz.sha256", "good_vertebrae.csv"}


def test_workers_of_the_command_line_write_the_same(scans, tmp_path, capsys):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, workers in zip(folders, ("1", "2"), strict=True):
        words = ["predict", *map(str, scans[:3]), "--out", str(folder), "--run", "trained", "--workers", workers]
        assert main(words) == 0
    one, two = ([nifti.read_labels(p).array for p in sorted(f.glob("*.nii.gz"))] for f in folders)
    assert len(one) == 3 and all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert capsys.readouterr().out.count("c0.nii.gz: ") == 2


def test_a_worker_with_other_networks_or_code_refuses(scans, tmp_path):
    job = dataclasses.replace(jobs_for(scans[:1], tmp_path)[0], version="another")
    with pytest.raises(CaseError, match="a worker with other networks or code"):
        predict_one(job)


def test_a_scan_that_does_not_fit_into_memory_stops_no_other(scans, tmp_path, monkeypatch):
    def full(volume):
        raise MemoryError

    monkeypatch.setattr("spineseg.learning.predicting._predictor", lambda *_: full)
    codes = [outcome.code for outcome in predict_jobs(jobs_for(scans[:2], tmp_path))]
    assert codes == ["memory", "memory"]


def test_no_worker_is_refused_before_anything_is_read(scans, capsys):
    assert main(["predict", str(scans[0]), "--workers", "0"]) == 2
    assert "workers must be 1 or more, got 0" in capsys.readouterr().err
