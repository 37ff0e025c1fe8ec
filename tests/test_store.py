import contextlib
import dataclasses
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import threading
import warnings
from types import SimpleNamespace

import jobs
import numpy as np
import psutil
import pytest
import torch

from spineseg.config import ClusterConfig, Config
from spineseg.data import cohort, digest, geometry, nifti, parallel, store, voxels
from spineseg.errors import CaseError
from spineseg.paths import real_ct_folder, store_folder

AFFINE = np.array([[0, 0, 3.0, 5], [-2.0, 0, 0, 6], [0, -2.5, 0, 7], [0, 0, 0, 1]])  # PIR


def scan(seed=0, shape=(50, 45, 20)):
    rng = np.random.default_rng(seed)
    ct = rng.normal(-1000, 10, shape)
    ct[5:45, 4:40] = rng.normal(40, 12, (40, 36, shape[2]))
    labels = np.zeros(shape, np.uint8)
    labels[20:30, 8:20, 5:15], labels[20:30, 21:35, 5:15] = 20, 21
    ct[labels > 0] = rng.normal(250, 60, np.count_nonzero(labels))
    return ct.astype(np.int16), labels


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path / "home"))
    for i in range(3):
        ct, labels = scan(i)
        nifti.write(tmp_path / "in" / f"p{i}_ct.nii.gz", ct, AFFINE)
        nifti.write(tmp_path / "in" / f"p{i}_seg.nii.gz", labels, AFFINE)
    return load(tmp_path)


def load(tmp_path, **overrides):
    fixed = {"cohort.layout": "pairs", "cohort.folder": str(tmp_path / "in"), "cohort.pseudonyms": False}
    fixed |= {"cluster.workers": 1}
    return Config.load("smoke", **fixed, **overrides)


def prepare(config):
    return store.prepare_cohort(config, progress=False)


def entries():
    return sorted(p for p in store_folder().iterdir() if (p / "meta.json").is_file())


def test_a_prepared_case_is_canonical_isotropic_and_windowed(config):
    prepared = store.prepare_case(cohort.cases(config).iloc[0], config)
    for affine, spacing in ((prepared.affine, 6.0), (prepared.coarse_affine, 12.0)):
        assert geometry.orientation_of(affine) == "RAS" and geometry.spacing_of(affine) == pytest.approx((spacing,) * 3)
    assert prepared.image.shape == prepared.labels.shape == (10, 17, 19)
    assert prepared.coarse_image.shape == prepared.coarse_labels.shape
    assert prepared.image.dtype == np.float32 and 0 <= prepared.image.min() < 0.02 and prepared.image.max() <= 1
    assert set(np.unique(prepared.labels)) == {0, 20, 21} == set(np.unique(prepared.coarse_labels))
    assert prepared.original_shape == (50, 45, 20) and np.allclose(prepared.original_affine, AFFINE)


def test_the_window_maps_its_ends_to_zero_and_one():
    ct = np.full((8, 8, 8), -500, np.int16)
    ct[4:] = 1300
    prepared = store.prepare_arrays(ct, None, np.diag([6.0, 6, 6, 1]), Config.load("smoke").preparation)
    assert prepared.image[0].max() == 0 and prepared.image[-1].min() == 1 and prepared.labels is None


def test_an_affine_of_a_prepared_case_points_at_the_same_place(config):
    prepared = store.prepare_case(cohort.cases(config).iloc[0], config)
    _, labels = scan(0)
    for value in (20, 21):
        there = np.append(np.argwhere(prepared.labels == value).mean(0), 1)
        here = np.append(np.argwhere(labels == value).mean(0), 1)
        assert np.linalg.norm((prepared.affine @ there - AFFINE @ here)[:3]) < 2.0


def test_labels_come_back_to_the_original_grid(tmp_path, config):
    finer = load(tmp_path, **{"preparation.spacing_mm": 2.0})
    prepared = store.prepare_case(cohort.cases(finer).iloc[0], finer)
    back = geometry.back_to_original(
        prepared.labels, prepared.affine, prepared.original_affine, prepared.original_shape
    ).numpy()
    _, labels = scan(0)
    assert 2 * ((back == labels) & (labels > 0)).sum() / ((back > 0).sum() + (labels > 0).sum()) > 0.95


def test_what_is_loaded_is_what_was_prepared(config):
    prepared = store.prepare_case(cohort.cases(config).iloc[1], config)
    loaded = prepare(config).load("p1")
    assert loaded.case == "p1" and loaded.original_shape == prepared.original_shape
    for name in ("image", "labels", "coarse_image", "coarse_labels", "affine", "coarse_affine", "original_affine"):
        assert np.array_equal(getattr(loaded, name), getattr(prepared, name)), name
        assert getattr(loaded, name).dtype == getattr(prepared, name).dtype
    coarse = prepare(config).load_coarse("p1")
    assert np.array_equal(coarse["coarse_image"], loaded.coarse_image)


def test_stored_images_are_within_half_a_step_of_the_exact_ones(config):
    preparation = config.preparation
    ct, _ = scan(0)
    moved, affine = geometry.to_canonical(ct, AFFINE)
    exact = np.clip((moved.astype(np.float32) + 500) / 1800, 0, 1)
    grid, shape = geometry.grid_at(affine, moved.shape, preparation.spacing_mm)
    exact = geometry.resample_image(torch.from_numpy(np.ascontiguousarray(exact)), affine, grid, shape).numpy()
    assert np.abs(prepare(config).load("p0").image - exact).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("start", [(0, 0, 0), (2, 5, 7), (-3, 10, 15), (6, -20, 3), (40, 0, 0)])
def test_a_patch_is_a_box_of_the_whole_with_air_outside(config, start):
    prepared = prepare(config)
    whole, shape = prepared.load("p0"), (8, 8, 8)
    image, labels = prepared.read_patch("p0", start, shape)
    padded = [np.pad(a, 64) for a in (whole.image, whole.labels)]
    box = tuple(slice(s + 64, s + 64 + n) for s, n in zip(start, shape, strict=True))
    assert image.dtype == np.float32 and labels.dtype == np.uint8 and prepared.shape("p0") == whole.image.shape
    assert np.array_equal(image, padded[0][box]) and np.array_equal(labels, padded[1][box])


def test_foreground_coordinates_hold_their_class(config):
    prepared = prepare(config)
    labels, found = prepared.load("p0").labels, prepared.foreground("p0")
    assert set(found) == {20, 21}
    for value, where in found.items():
        assert len(where) == min((labels == value).sum(), voxels.FOREGROUND_VOXELS)
        assert (labels[tuple(where.T)] == value).all() and len(np.unique(where, axis=0)) == len(where)


def test_foreground_of_a_large_class_is_an_even_selection(monkeypatch):
    monkeypatch.setattr(voxels, "FOREGROUND_VOXELS", 50)
    labels = np.ones((10, 20, 30), np.uint8)
    where = voxels.foreground_of(labels)[1]
    assert where.shape == (50, 3) and where[0].tolist() == [0, 0, 0] and where[-1].tolist() == [9, 19, 29]


def test_a_scan_without_segmentation_is_prepared_without_labels(config):
    row = cohort.cases(config).iloc[0].copy()
    for nothing in ("", None, float("nan")):
        row["segmentation"] = nothing
        assert store.prepare_case(row, config).labels is None
    table = cohort.cases(config).iloc[:1].assign(segmentation="")
    only = store.Store(config, table)
    assert only.load("p0").labels is None and only.read_patch("p0", (0, 0, 0), (4, 4, 4))[1] is None
    assert only.foreground("p0") == {}


def test_nothing_is_prepared_twice(config):
    prepare(config)
    before = {p: p.stat().st_mtime_ns for p in entries()}
    assert len(before) == 3
    prepare(config)
    assert {p: p.stat().st_mtime_ns for p in entries()} == before


def test_a_changed_input_is_prepared_again(config, tmp_path):
    first = prepare(config).load("p0").image
    ct, _ = scan(7)
    nifti.write(tmp_path / "in/p0_ct.nii.gz", ct, AFFINE)
    assert not np.array_equal(prepare(config).load("p0").image, first) and len(entries()) == 4


def test_a_changed_segmentation_is_prepared_again(config, tmp_path):
    prepare(config)
    nifti.write(tmp_path / "in/p0_seg.nii.gz", np.zeros((50, 45, 20), np.uint8), AFFINE)
    assert not prepare(config).load("p0").labels.any()


def test_a_changed_preparation_is_another_entry(config, tmp_path):
    prepare(config)
    other = prepare(load(tmp_path, **{"preparation.window_high_hu": 900.0}))
    assert len(entries()) == 6 and other.load("p0").image.max() > prepare(config).load("p0").image.max()
    prepare(load(tmp_path, **{"training.epochs": 7}))
    assert len(entries()) == 6


def test_changed_code_is_another_entry_and_the_old_one_can_be_pruned(config, monkeypatch):
    prepare(config)
    for module in (store, digest):
        monkeypatch.setattr(module, "code_version", lambda: "another")
    prepare(config)
    assert len(entries()) == 6 and store.prune() == 3 and len(entries()) == 3


def test_a_flipped_bit_in_the_store_is_found_and_the_case_prepared_again(config):
    good = prepare(config).load("p0").image
    file = prepare(config).path("p0") / "image.b2nd"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)
    assert np.array_equal(prepare(config).load("p0").image, good)


@pytest.mark.parametrize("lost", ["meta.json", "labels.b2nd", "foreground.npz"])
def test_a_half_written_entry_is_prepared_again(config, lost):
    prepared = prepare(config)
    (prepared.path("p0") / lost).unlink()
    assert prepare(config).load("p0").labels.any()


def test_an_interrupted_preparation_leaves_no_entry(config, monkeypatch):
    monkeypatch.setattr(store, "_write_array", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare(config)
    assert entries() == [] and [p.name for p in store_folder().iterdir()] == ["inputs"]


def test_a_bad_case_is_left_out_and_the_others_are_prepared(config, tmp_path):
    (tmp_path / "in/p1_ct.nii.gz").write_bytes(b"<html>")
    prepared = prepare(config)
    assert prepared.table["case"].tolist() == ["p0", "p2"]
    assert [error.code for error in prepared.failures] == ["not-nifti"] and "p1_ct" in str(prepared.failures[0])
    with pytest.raises(KeyError, match="p1"):
        prepared.load("p1")


def test_no_usable_case_is_an_error(config, tmp_path):
    for i in range(3):
        (tmp_path / f"in/p{i}_ct.nii.gz").write_bytes(b"")
    with pytest.raises(CaseError, match="0 bytes"):
        prepare(config)


def test_worker_processes_prepare_the_same(config, tmp_path, monkeypatch):
    prepare(config)
    here = {p.name: json.loads((p / "meta.json").read_text())["sha256"] for p in entries()}
    for path in entries():
        (path / "meta.json").unlink()
    monkeypatch.setattr(parallel, "WORTH_A_POOL_S", 0.0)
    prepare(dataclasses.replace(config, cluster=ClusterConfig(workers=2)))
    assert {p.name: json.loads((p / "meta.json").read_text())["sha256"] for p in entries()} == here


def hashes():
    return {p.name: json.loads((p / "meta.json").read_text())["sha256"] for p in entries()}


def test_killed_workers_leave_the_store_of_an_undisturbed_preparation(config, tmp_path, monkeypatch):
    for i in range(3, 40):
        for name, array in zip(("ct", "seg"), scan(i), strict=True):
            nifti.write(tmp_path / "in" / f"p{i}_{name}.nii.gz", array, AFFINE)
    prepare(config)
    here = hashes()
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path / "other"))
    monkeypatch.setattr(parallel, "WORTH_A_POOL_S", 0.0)
    killed, forked, over = [], [], threading.Event()

    def kill_workers():
        nonlocal forked
        while len(killed) < 4 and not over.wait(0.005):
            with contextlib.suppress(psutil.NoSuchProcess):
                forked = [p for p in psutil.Process().children(recursive=True) if p.ppid() != os.getpid()]
            if forked and len(list(store_folder().glob("[!.]*/meta.json"))) >= 4 * len(killed) + 1:
                killed.append(forked[len(killed) % len(forked)].pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill_workers)
    killer.start()
    try:
        with warnings.catch_warnings(record=True):
            disturbed = prepare(dataclasses.replace(config, cluster=ClusterConfig(workers=2, deaths_per_case=20)))
    finally:
        over.set()
        killer.join()
    assert killed and disturbed.failures == [] and hashes() == here and len(here) == 40
    assert not list(store_folder().glob(".*"))


def test_two_preparations_at_once_do_not_disturb_each_other(config, tmp_path):
    prepare(config)
    alone = hashes()
    shutil.rmtree(store_folder())
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    both = [context.Process(target=jobs.prepare, args=(config, str(tmp_path / "home"))) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0] and hashes() == alone
    assert not list(store_folder().glob(".*")) and prepare(config).load("p1").labels.any()


def test_a_preparation_that_another_one_overtakes_keeps_the_other_s_entry(config, monkeypatch):
    job = (prepare(config)._rows["p0"], config, store.code_version())
    final = store_folder() / store._key(job[:2])
    shutil.rmtree(final)
    write_array, calls = store._write_array, []

    def overtaken(path, array):
        calls.append(path)
        if len(calls) == 1:
            store._prepare_one(job)
            store._sweep()
            assert not path.parent.exists()
        write_array(path, array)

    monkeypatch.setattr(store, "_write_array", overtaken)
    store._prepare_one(job)
    assert prepare(config).load("p0").labels.any() and not list(store_folder().glob(".*"))


def test_what_a_killed_worker_left_is_swept_up_but_not_what_is_being_written(config):
    done = prepare(config).path("p0")
    left, busy = done.with_name(f".0123abcd-{done.name}"), done.with_name(".0123abcd-" + 24 * "0")
    for folder in (left, busy):
        folder.mkdir()
    prepare(config)
    assert not left.exists() and busy.exists()
    os.utime(busy, (0, 0))
    prepare(config)
    assert not busy.exists()


def test_a_store_that_cannot_be_written_is_refused_before_the_start(config, monkeypatch):
    monkeypatch.setattr(store, "map_cases", None)
    store_folder().parent.mkdir(parents=True)
    store_folder().write_text("a file in its place")
    with pytest.raises(CaseError, match="derived/store: the system says.*SPINESEG_HOME") as caught:
        prepare(config)
    assert caught.value.code == "unwritable"


def test_a_full_disk_or_memory_is_refused_before_any_case_is_prepared(config, monkeypatch):
    monkeypatch.setattr(store, "_prepare_one", None)
    for fault, name in (("disk-full", "shutil.disk_usage"), ("memory", "free_memory")):
        with monkeypatch.context() as patch:
            patch.setattr(f"spineseg.data.resources.{name}", lambda *_: SimpleNamespace(free=1e6) if _ else 10**6)
            with pytest.raises(CaseError) as caught:
                prepare(config)
        assert caught.value.code == fault and entries() == []


def test_a_store_survives_pickling(config):
    prepared = prepare(config)
    image = prepared.load("p2").image
    assert np.array_equal(pickle.loads(pickle.dumps(prepared)).load("p2").image, image)


def test_a_content_hash_is_remembered_and_follows_the_file(config, tmp_path):
    path = tmp_path / "in/p0_ct.nii.gz"
    first = digest.content_hash(path)
    assert digest.content_hash(path) == first
    path.write_bytes(path.read_bytes() + b"x")
    assert digest.content_hash(path) != first
    with pytest.raises(CaseError, match="No such file"):
        digest.content_hash(tmp_path / "none")


def test_the_real_pairs_are_prepared(config):
    folder = real_ct_folder() / "pairs"
    if not folder.is_dir():
        pytest.skip(f"no real scans in {folder}")
    real = Config.load("smoke", **{"cohort.layout": "pairs", "cohort.folder": str(folder), "cluster.workers": 1})
    prepared = prepare(real)
    assert prepared.failures == [] and all(prepared.load(case).labels.any() for case in prepared.table["case"])
