from pathlib import Path

import pytest

from spineseg import paths


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    monkeypatch.delenv("SPINESEG_HOME", raising=False)
    monkeypatch.delenv("SPINESEG_REALCT", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_environment_decides_where_the_project_is(monkeypatch, tmp_path):
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path / "elsewhere"))
    assert paths.project_root() == tmp_path / "elsewhere"


def test_a_checkout_is_found_from_a_folder_inside_it(monkeypatch, tmp_path):
    (tmp_path / "spineseg").mkdir()
    (tmp_path / "spineseg" / "config.py").touch()
    inside = tmp_path / "notebooks" / "deep"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert paths.project_root() == tmp_path.resolve()


def test_outside_a_checkout_the_working_folder_is_the_root(tmp_path):
    assert paths.project_root() == tmp_path.resolve()


def test_every_folder_lies_below_the_root(monkeypatch, tmp_path):
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path))
    assert paths.run_folder("smoke") == tmp_path / "runs" / "smoke"
    assert paths.raw_folder("phantom-smoke") == tmp_path / "data" / "raw" / "phantom-smoke"
    assert paths.store_folder() == tmp_path / "data" / "derived" / "store"
    assert paths.build_folder("smoke") == tmp_path / "_build" / "smoke"


def test_an_absolute_data_folder_stays_where_it_is(tmp_path):
    assert paths.raw_folder(str(tmp_path / "ct")) == tmp_path / "ct"


def test_real_scans_lie_beside_the_project_unless_the_environment_says_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path / "project"))
    assert paths.real_ct_folder() == tmp_path / "shared" / "data" / "realct"
    monkeypatch.setenv("SPINESEG_REALCT", "/data/ct")
    assert paths.real_ct_folder() == Path("/data/ct")


def test_naming_a_folder_does_not_make_it(tmp_path):
    for folder in (paths.run_folder("x"), paths.raw_folder("x"), paths.store_folder(), paths.build_folder("x")):
        assert not folder.exists()
    assert not list(tmp_path.iterdir())
