import numpy as np
import pytest

from spineseg.config import ClusterConfig, Config
from spineseg.data import nifti, resources
from spineseg.errors import CaseError

WORKER = resources.MEMORY_OF_A_WORKER


@pytest.fixture
def scans(tmp_path):
    """Three scans of 20, 30 and 40 voxels a side at 3 mm, and a file that is no scan."""
    paths = [tmp_path / f"{n}.nii" for n in (20, 30, 40)]
    for n, path in zip((20, 30, 40), paths, strict=True):
        nifti.write(path, np.zeros((n, n, n), np.int16), np.diag([3.0, 3, 3, 1]))
    (tmp_path / "web.nii").write_bytes(b"<html>")
    return [*paths, tmp_path / "web.nii"]


def config(workers=3, **values):
    return Config.load("demo", **{"cluster.workers": workers, **values})


def with_memory(monkeypatch, n):
    monkeypatch.setattr(resources, "free_memory", lambda: int(n / resources.MEMORY_SHARE) + 1)


def memory(side):
    return resources.MEMORY_PER_VOXEL * side**3


def test_a_demand_follows_the_larger_grid_in_memory_and_the_prepared_ones_on_disk(scans):
    same = resources.demand(scans[2], config().preparation)
    assert same.memory == memory(40)
    assert same.disk == int(resources.DISK_PER_VOXEL * (40**3 + 10**3)) + resources.DISK_PER_CASE
    finer = resources.demand(scans[2], config(**{"preparation.spacing_mm": 1.5}).preparation)
    assert finer.memory == memory(80)
    coarser = resources.demand(scans[2], config(**{"preparation.spacing_mm": 6.0}).preparation)
    assert coarser.memory == memory(40) and coarser.disk < same.disk < finer.disk


def test_wider_numbers_take_more_memory(tmp_path):
    nifti.write(tmp_path / "wide.nii", np.zeros((20, 20, 20), np.float32), np.diag([3.0, 3, 3, 1]))
    assert resources.demand(tmp_path / "wide.nii", config().preparation).memory == memory(20) + 2 * 20**3


def test_where_everything_fits_nothing_changes(scans, tmp_path):
    assert resources.require(scans, config(), tmp_path) == config().cluster
    assert resources.require([], config(), tmp_path) == config().cluster


def test_short_memory_leaves_as_many_workers_as_the_largest_cases_allow(monkeypatch, scans, tmp_path):
    for workers, free in ((1, memory(40) + WORKER), (2, memory(40) + memory(30) + 2 * WORKER)):
        with_memory(monkeypatch, free)
        with pytest.warns(UserWarning, match=f"of memory are free.*{workers} workers in place of 3"):
            assert resources.require(scans, config(), tmp_path) == ClusterConfig(workers=workers)


def test_a_case_that_does_not_fit_alone_is_refused_by_name(monkeypatch, scans, tmp_path):
    with_memory(monkeypatch, memory(40) + WORKER - 1000)
    with pytest.raises(CaseError, match="40.nii: a scan whose preparation takes about .* of memory") as caught:
        resources.require(scans, config(), tmp_path)
    assert caught.value.code == "memory"


def test_the_memory_of_other_machines_is_not_looked_at(monkeypatch, scans, tmp_path):
    with_memory(monkeypatch, 1)
    elsewhere = config(**{"cluster.scheduler": "tcp://127.0.0.1:8786"})
    assert resources.require(scans, elsewhere, tmp_path) == elsewhere.cluster


def test_a_small_disk_is_refused_with_the_estimate(monkeypatch, scans, tmp_path):
    needed = resources.SPARE_BYTES + sum(resources.demand(path, config().preparation).disk for path in scans[:3])
    for free in (needed, needed - 1):
        monkeypatch.setattr(resources.shutil, "disk_usage", lambda _, free=free: type("Usage", (), {"free": free}))
        if free == needed:
            resources.require(scans, config(), tmp_path)
    with pytest.raises(CaseError, match=r"MB free; expected 4\.\d+ MB for 3 prepared cases"):
        resources.require(scans, config(), tmp_path)


def test_the_estimate_covers_a_scan_of_noise_on_disk(scans, tmp_path, monkeypatch):
    from spineseg.data import store

    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path))
    rng = np.random.default_rng(0)
    ct, labels = rng.integers(-500, 1300, (48, 50, 52)), np.zeros((48, 50, 52), np.uint8)
    labels[10:40, 10:40] = np.arange(52) // 2
    affine = np.diag([3.0, 3, 3, 1])
    nifti.write(tmp_path / "ct.nii", ct.astype(np.int16), affine)
    nifti.write(tmp_path / "seg.nii", labels, affine)
    row = ("noise", str(tmp_path / "ct.nii"), str(tmp_path / "seg.nii"))
    store._prepare_one((row, config(), store.code_version()))
    written = store.store_folder().glob("*/*.[bn]*")
    taken = sum(p.stat().st_size for p in written)
    assert 0 < taken < resources.demand(tmp_path / "ct.nii", config().preparation).disk


def test_free_memory_is_some_of_the_machine_s():
    assert 0 < resources.free_memory() <= resources.psutil.virtual_memory().total
