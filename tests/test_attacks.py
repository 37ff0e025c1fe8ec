"""Attacks by number: one short test of each defence; the thorough ones are beside the module that defends."""

import ast
import base64
import gzip
import hashlib
import importlib.metadata
import io
import json
import logging
import os
import pickle
import re
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tarfile
import traceback
import tracemalloc
import types
import zipfile
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import misbehaving_server as acts
import nbformat
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import TINY, column_of_vertebrae
from made_files import error_of, raw_bytes
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from spineseg.anatomy.labels import IDS
from spineseg.cli import main
from spineseg.config import ClusterConfig, Config
from spineseg.data import nifti, resources, store
from spineseg.data.audit import Audit
from spineseg.data.audit.findings import found as found_in_case
from spineseg.data.fetch import SOURCES, fetch, lock, verify
from spineseg.data.fetch.members import Caps
from spineseg.data.fetch.transfer import Patience, download
from spineseg.data.fetch.unpacking import unpack
from spineseg.errors import CaseError
from spineseg.learning import checkpoints
from spineseg.learning.assembly import Found
from spineseg.learning.inference import Prediction, Predictor
from spineseg.report import book, execution, tables, view

ROOT = Path(__file__).parents[1]
PROJECT = (ROOT / "pyproject.toml").read_text()
CANARY = "DOE^JANE_19530401"  # fits the 18 bytes of db_name
SCRIPT = "<script>alert(1)<"  # a file name holds no slash
HERE = ClusterConfig(workers=1)


def test_every_attack_has_a_test():
    numbers = {int(found[1]) for name in globals() if (found := re.match(r"test_attack_(\d\d)_", name))}
    assert numbers == set(range(1, 25))


# --- code in data


CODE_IN_DATA = (
    r"(c?pickle|dill|joblib|cloudpickle)\.loads?|torch\.(load|hub\.load)|.*\.load_from_checkpoint|.*\.read_pickle"
)
UNSAFE_YAML = r"yaml\.(load|load_all|unsafe_load|unsafe_load_all|full_load|full_load_all)"


def calls(source):
    """Name and named arguments of each call in a program."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}


def programs():
    """What the project runs: package, benchmarks, cells of the notebooks."""
    for path in [*(ROOT / "spineseg").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        yield path, path.read_text()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        yield path, "\n".join(c.source for c in cells if c.cell_type == "code" and not c.source.startswith("%"))


def callers(pattern, unsafe=lambda options: False):
    return [
        (path.name, name)
        for path, source in programs()
        for name, options in calls(source)
        if re.fullmatch(pattern, name) or unsafe(options)
    ]


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def as_pickle(trap):
    return pickle.dumps(trap)


def as_torch_file(trap):
    stream = io.BytesIO()
    torch.save({"network.w": trap}, stream)
    return stream.getvalue()


def planted_checkpoint(folder, payload):
    """Bytes of an attacker's choice under a checkpoint's name, with the hash that they have."""
    path = folder / "a-best.safetensors"
    path.write_bytes(payload)
    state = {"format": checkpoints.FORMAT, "sha256": hashlib.sha256(payload).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(state))
    return path


def refused(path):
    """A checkpoint is refused in one of the two ways that there are, and nothing of it comes back."""
    from safetensors import SafetensorError

    with pytest.raises((CaseError, SafetensorError)):
        checkpoints.load(path)


def test_attack_01_nothing_unpickles_what_it_reads():
    found = callers(CODE_IN_DATA, lambda o: "weights_only" in o or o.get("allow_pickle", "False") != "False")
    assert found == []
    assert [name for name, _ in calls("torch.load(p)") if re.fullmatch(CODE_IN_DATA, name)] == ["torch.load"]


@pytest.mark.parametrize("form", [as_pickle, as_torch_file])
def test_attack_02_a_pickle_in_place_of_weights_is_refused_and_never_run(tmp_path, form):
    trap = tmp_path / "sprung"
    refused(planted_checkpoint(tmp_path, form(Trap(trap))))
    assert not trap.exists()
    pickle.loads(as_pickle(Trap(trap)))
    assert trap.exists()  # it would have worked


def test_attack_02_a_pickle_in_a_prepared_case_counts_as_damage_and_is_never_run(tmp_path):
    np.savez(tmp_path / "foreground.npz", **{"1": np.array([Trap(tmp_path / "sprung")], dtype=object)})
    digest = hashlib.sha256((tmp_path / "foreground.npz").read_bytes()).hexdigest()
    (tmp_path / "meta.json").write_text(json.dumps({"sha256": {"foreground.npz": digest}}))
    assert store._open(tmp_path) is None and not (tmp_path / "sprung").exists()


def requirement(name):
    declared = {canonicalize_name(Requirement(text).name): Requirement(text) for text in DECLARED}
    return declared[name]


def test_attack_03_no_torch_before_2_10_satisfies_the_project():
    assert not requirement("torch").specifier.contains("2.9.1") and requirement("torch").specifier.contains("2.10.0")
    assert requirement("torch").specifier.contains(importlib.metadata.version("torch").partition("+")[0])


def test_attack_04_a_checkpoint_is_json_and_tensors_and_nothing_else(tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoints.save(path, {"w": torch.arange(3.0)}, {"epochs": 3})
    assert {p.name for p in tmp_path.iterdir()} == {"a.safetensors", "a.json"}
    assert json.loads((tmp_path / "a.json").read_text())["epochs"] == 3
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    assert set(header) == {"w"} and header["w"]["dtype"] == "F32"


def test_attack_04_a_state_that_is_not_plain_values_cannot_be_saved(tmp_path):
    with pytest.raises(TypeError):
        checkpoints.save(tmp_path / "a.safetensors", {"w": torch.zeros(1)}, {"trap": Trap(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def tensors_file(header, body=b"\0" * 8, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
ABUSED = {
    "nothing": b"",
    "length-of-2-to-the-63": tensors_file({"w": ONE}, length=1 << 63),
    "length-beyond-the-file": tensors_file({"w": ONE}, length=5000),
    "four-terabytes": tensors_file({"w": ONE | {"shape": [1 << 40], "data_offsets": [0, 1 << 42]}}),
    "shape-that-overflows": tensors_file({"w": ONE | {"shape": [1 << 62, 1 << 62]}}),
    "offsets-backwards": tensors_file({"w": ONE | {"data_offsets": [8, 0]}}),
    "tensors-that-overlap": tensors_file({"v": ONE, "w": ONE}),
    "bytes-of-no-tensor": tensors_file({"w": ONE}, body=b"\0" * 99),
    "unknown-dtype": tensors_file({"w": ONE | {"dtype": "PICKLE"}}),
    "not-json": tensors_file(b"\x80\x04" + b"x" * 40),
    "nested-without-end": tensors_file(b"[" * 100_000),
}


@pytest.mark.parametrize("name", ABUSED)
def test_attack_05_an_abused_safetensors_header_is_refused(tmp_path, name):
    refused(planted_checkpoint(tmp_path, ABUSED[name]))


# --- archives and files that explode or lead elsewhere


def zipped(path, files, mode=stat.S_IFREG):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = (mode | 0o644) << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return path


def tarred(path, name, data=b"x", **fields):
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        for field, value in fields.items():
            setattr(entry, field, value)
        archive.addfile(entry, io.BytesIO(data))
    return path


def code_of_unpacking(tmp_path, archive, **options):
    """The code of the refusal, after which there is nothing but the archive."""
    code = error_of(unpack, archive, tmp_path / "deep" / "data", origin="one", progress=False, **options).code
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [archive]
    return code


@pytest.mark.parametrize("name", ["../evil", "s/../../evil", "/tmp/evil", "..\\evil", "C:\\evil"])
def test_attack_06_zip_slip(tmp_path, name):
    assert code_of_unpacking(tmp_path, zipped(tmp_path / "a.zip", {"good": b"x", name: b"x"})) == "archive-path"


@pytest.mark.parametrize("name", ["../evil", "s/../../evil", "/tmp/evil"])
def test_attack_07_tar_slip(tmp_path, name):
    assert code_of_unpacking(tmp_path, tarred(tmp_path / "a.tar.gz", name)) == "archive-path"


def test_attack_07_every_tar_member_meets_the_data_filter(tmp_path, monkeypatch):
    def filtered(entry, folder):
        raise tarfile.OutsideDestinationError(entry, folder)

    monkeypatch.setattr(tarfile, "data_filter", filtered)
    assert code_of_unpacking(tmp_path, tarred(tmp_path / "a.tar.gz", "good")) == "archive-path"


def test_attack_08_links_in_archives(tmp_path):
    path = tmp_path / "a"
    assert code_of_unpacking(tmp_path, zipped(path, {"s": b"/etc/passwd"}, stat.S_IFLNK)) == "archive-link"
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        assert code_of_unpacking(tmp_path, tarred(path, "s", b"", type=kind, linkname="/etc/passwd")) == "archive-link"


def test_attack_08_a_link_that_waits_in_the_folder_is_not_followed(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "s").symlink_to(tmp_path / "outside")
    archive = zipped(tmp_path / "a.zip", {"s/ct.nii": b"x"})
    assert error_of(unpack, archive, tmp_path / "data", origin="one", progress=False).code == "archive-path"
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize(
    "caps", [Caps(total_bytes=99_999), Caps(members=1), Caps(ratio=50, ratio_from=1000)], ids=["size", "count", "ratio"]
)
def test_attack_09_zip_bombs(tmp_path, caps):
    archive = zipped(tmp_path / "a.zip", {"zeros": bytes(100_000), "more": b"x"})
    assert code_of_unpacking(tmp_path, archive, caps=caps) == "archive-bomb"
    assert unpack(archive, tmp_path / "data", origin="one", progress=False).is_dir()  # as the caps are, it is none


@pytest.mark.parametrize(("shape", "more", "code"), [((30000,) * 3, 0, "too-large"), ((3, 4, 5), 64, "payload-long")])
def test_attack_10_nifti_bombs(tmp_path, shape, more, code):
    head = bytearray(raw_bytes(np.zeros((3, 4, 5), np.int16)))
    struct.pack_into("<4h", head, 40, 3, *shape)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(bytes(head) + bytes(more << 20), 1))
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    assert error_of(nifti.read, path).code == code
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


# --- what is downloaded is what was published


@pytest.fixture
def server():
    with acts.serving(b"PK" + bytes(3000)) as running:
        yield running


def test_attack_11_other_bytes_than_the_pinned_ones_are_deleted(server, tmp_path):
    pinned = {"md5": hashlib.md5(server.body).hexdigest(), "size": len(server.body), "at_most": 9999}
    server.body = server.body[:-1] + b"\1"
    patience = Patience(attempts=1, sleep=lambda _: None)
    error = error_of(download, server.url, tmp_path / "a.zip", patience=patience, progress=False, **pinned)
    assert error.code == "checksum" and list(tmp_path.iterdir()) == []


def test_attack_11_every_archive_is_pinned_and_comes_over_https():
    archives = [source for source in SOURCES.values() if not source.kaggle]  # Kaggle publishes no checksum
    assert archives
    for source in archives:
        assert re.fullmatch("[0-9a-f]{32}", source.md5) and source.url.startswith("https://zenodo.org/records/")


def test_attack_11_a_source_without_checksums_is_held_to_its_first_fetch(tmp_path):
    def fetched(body):
        shutil.rmtree(tmp_path / "kaggle", ignore_errors=True)
        data = unpack(zipped(tmp_path / "a.zip", body), tmp_path / "kaggle", origin="x", progress=False)
        (tmp_path / "a.zip").unlink()
        return data

    bodies = {"v/a": b"one", "v/b": b"two"}
    for _ in range(2):
        lock.hold(fetched(bodies).parent)
    for other in (bodies | {"v/b": b"tWo"}, bodies | {"v/c": b""}, {"v/a": b"one"}):
        assert error_of(lock.hold, fetched(other).parent).code == "lock"
        assert not (tmp_path / "kaggle").exists()


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_attack_11_a_scan_that_changed_after_the_fetch_is_refused_wherever_it_is_read(tmp_path, suffix):
    array, _, affine = column_of_vertebrae(3)
    volumes = [nifti.write(tmp_path / f"{i}{suffix}", array + i, affine).read_bytes() for i in range(2)]
    data = unpack(
        zipped(tmp_path / "a.zip", {f"v/0{suffix}": volumes[0]}), tmp_path / "one", origin="x", progress=False
    )
    path = data / f"0{suffix}"
    assert np.array_equal(nifti.read_ct(path).array, array)
    path.write_bytes(volumes[1])  # a whole and valid file
    error = error_of(nifti.read_ct, path)
    assert error.code == "hash" and "its line in .spineseg-ledger.jsonl" in error.remedy


def test_attack_12_a_member_that_changed_after_unpacking_is_found_by_its_hash(tmp_path):
    data = unpack(zipped(tmp_path / "a.zip", {"x": b"one", "y": b"two"}), tmp_path / "data", origin="1", progress=False)
    assert verify(data, progress=False) == []
    (data / "x").write_bytes(b"oNe")
    assert [(f.code, Path(f.path).name) for f in verify(data, progress=False)] == [("file-changed", "x")]


# --- logins


TOKEN = "KGAT_planted/0123+456789=abcdef"


@pytest.fixture
def login(tmp_path, monkeypatch):
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    return TOKEN


@pytest.fixture
def notebook(tmp_path):
    """A notebook that would take any of these parameters."""
    names = ("profile", "run", "overrides", "kaggle_token", "api_key", "password", "epochs")
    cell = nbformat.v4.new_code_cell("\n".join(f'{name} = ""' for name in names), metadata={"tags": ["parameters"]})
    content = nbformat.v4.new_notebook(cells=[cell])
    content.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(content, tmp_path / "01_a.ipynb")
    return tmp_path / "01_a.ipynb"


@pytest.mark.parametrize(
    "parameters",
    [{"kaggle_token": TOKEN}, {"api_key": "k"}, {"password": "p"}, {"epochs": TOKEN}, {"epochs": f"x?t={quote(TOKEN)}"},
     {"overrides": {"access_token": TOKEN}}, {"overrides": '{"access_token": "t"}'}, {TOKEN: 1}],
)  # fmt: skip
def test_attack_13_a_login_is_refused_as_a_parameter_and_not_shown(login, notebook, parameters):
    with pytest.raises(ValueError, match="is a login.*environment") as caught:
        book.check_parameters(Config.load("smoke"), parameters, [notebook])
    assert TOKEN not in str(caught.value)


def test_attack_13_other_parameters_pass(login, notebook):
    chosen = book.check_parameters(
        Config.load("smoke"), {"epochs": "7", "overrides": '{"training.seed": 7}'}, [notebook]
    )
    assert chosen["01_a.ipynb"] == {"profile": "smoke", "run": "smoke", "epochs": 7, "overrides": {"training.seed": 7}}


def test_attack_14_a_login_is_in_no_address_log_or_traceback(login, monkeypatch, tmp_path, caplog):
    def leaking(handle, **_):
        logging.getLogger("kagglehub").warning("GET https://x/?token=%s", quote(TOKEN, safe=""))
        raise ValueError(f"Authorization: Bearer {TOKEN}")

    hub = types.ModuleType("kagglehub")
    hub.dataset_download = leaking
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**14))
    with pytest.raises(CaseError) as caught:
        fetch("kaggle", tmp_path / "raw", progress=False)
    text = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(vars(caught.value))
    assert text.count("<hidden>") >= 2 and TOKEN not in text and quote(TOKEN, safe="") not in text


def test_attack_14_the_query_of_an_address_is_not_shown(server, tmp_path):
    server.script = [acts.status(404)]
    error = error_of(
        download, f"{server.url}?token=planted", tmp_path / "a.zip", md5="0" * 32, at_most=9, progress=False
    )
    assert "404" in error.found and "planted" not in str(error)


# --- text of files in pages


def marked(path, array, affine):
    """A NIfTI file with the canary, and markup, wherever its format has room for text."""
    image = nib.Nifti1Image(array, affine)
    header = image.header
    header["descrip"], header["db_name"] = f"<script>alert(1)</script>{CANARY}", CANARY
    header["aux_file"], header["intent_name"] = CANARY, "<script>x"
    header.extensions.append(nib.nifti1.Nifti1Extension("comment", f"<script>alert(1)</script> {CANARY}".encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    assert CANARY.encode() in plain(path.read_bytes())
    return path


def plain(data):
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def contents(folder):
    """Every file's bytes, unpacked, and what is embedded in them."""
    data = [plain(p.read_bytes()) for p in folder.rglob("*") if p.is_file()]
    inside = [plain(base64.b64decode(text)) for d in data for text in re.findall(rb'[A-Za-z0-9+/]{400,}=*(?=")', d)]
    return b"\n".join(data + inside)


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A set whose one case has markup in its name, a canary in its headers, and something to find."""
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path / "home"))
    ct, labels, affine = column_of_vertebrae(3)
    folder = tmp_path / f"set{SCRIPT}"
    marked(folder / f"{SCRIPT}_ct.nii.gz", ct, affine)
    marked(folder / f"{SCRIPT}_seg.nii.gz", labels, affine)
    return folder


def test_attack_15_markup_in_names_is_text_in_the_audit_page(hostile, tmp_path, capsys):
    assert main(["audit", str(hostile), "--to", str(tmp_path / "page"), "--workers", "1"]) == 1
    text = (tmp_path / "page" / "index.html").read_text()
    assert "<script" not in text and text.count("&lt;script&gt;alert(1)&lt;") > 4
    assert "<section" in text  # the case is a suspect one, so it has a section of its own


def test_attack_15_markup_in_names_is_text_in_the_tables_of_the_book():
    finding = found_in_case(f"{SCRIPT}/script>", "label-gap", f"{SCRIPT}b")
    found = Audit(SimpleNamespace(), None, [finding])
    for shown in (tables.findings(found).style.to_html(), tables.findings(found).to_html()):
        assert "&lt;script&gt;" in shown and "<script" not in shown


def test_attack_15_markup_in_names_is_text_in_the_3d_page_and_its_frame(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.delenv(view.OPEN_NOTEBOOK, raising=False)
    ct, labels, affine = column_of_vertebrae(3)
    name = f'"><img src=x onerror=alert(1)>{SCRIPT}'.replace("/", "")
    frame = view.book_view(name, ct, labels, affine, title=f"</script>{SCRIPT}/script>")._repr_html_()
    page = (tmp_path / "book" / "_static" / "views" / f"{name}.html").read_text()
    for text in (frame, page):
        assert "<script>alert" not in text and "<img" not in text


def test_attack_15_markup_in_values_is_code_in_the_provenance():
    from spineseg.report.provenance import _code

    assert _code("a`<script>`|\n# b") == "`a'<script>'¦ # b`"


def test_attack_16_text_of_headers_is_in_no_page_table_or_cache(hostile, tmp_path, capfd):
    options = ["--to", str(tmp_path / "page"), "--workers", "1"]
    main(["audit", str(hostile), "--fix", str(tmp_path / "fixed"), *options])
    ct, labels = (nifti.read(next(hostile.glob(f"*_{kind}.nii.gz"))) for kind in ("ct", "seg"))
    view.view_page(tmp_path / "page" / "a.html", ct.array, labels.array, ct.affine, spacing_mm=6.0, script_url="n.js")
    for folder in ("page", "fixed", "home"):
        written = contents(tmp_path / folder)
        assert written and CANARY.encode() not in written
        assert b"<script>alert(1)</script>" not in written
    assert b"n+1\0" in contents(tmp_path / "page") and list((tmp_path / "fixed").glob("*_ct.nii.gz"))
    assert CANARY not in "".join(capfd.readouterr())


def test_attack_16_text_of_headers_is_in_no_prediction(tmp_path, monkeypatch, capfd):
    array, labels, affine = column_of_vertebrae(3)
    path = marked(tmp_path / f"{SCRIPT}.nii.gz", array, affine)
    names, pieces = np.unique(labels, return_inverse=True)
    found = Found(pieces.reshape(labels.shape).astype(np.uint8), names[1:], np.ones(len(names) - 1))

    def predictor(volume):
        return Prediction(found, volume.affine)

    predictor.config = Config.load("smoke")
    monkeypatch.setattr(Predictor, "boxed", lambda: predictor)
    assert main(["predict", str(path), "--out", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").glob("*.csv"))) == 1 and len(list((tmp_path / "out").glob("*.nii.gz"))) == 1
    files = [p for p in (tmp_path / "out").iterdir() if p.suffix != ".sha256"]  # which names the file, as it must
    written = b"".join(plain(p.read_bytes()) for p in files)
    assert b"L5" in written and CANARY.encode() not in written and b"<script" not in written
    assert CANARY not in "".join(capfd.readouterr())


# --- the book and Jupyter


REMOTE = r"""(?:src=|srcset=|<link[^>]+href=|url\(|!\[[^]]*\]\()\s*["']?(?:https?:)?//|@import|\.\. image:: http"""


def test_attack_17_the_book_loads_nothing_from_elsewhere():
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())
    sphinx = settings["sphinx"]["config"]
    loaded = [*sphinx["html_css_files"], sphinx["mathjax_path"], *sphinx["nb_ipywidgets_js"]]
    assert not [name for name in loaded if "//" in name] and not sphinx["nb_ipywidgets_js"]
    launchers = settings["launch_buttons"]
    assert not any((launchers["binderhub_url"], launchers["colab_url"], launchers["thebe"]))
    for path in [*(ROOT / "book").glob("*.md"), *(ROOT / "book" / "_static").glob("*.css")]:
        assert not re.search(REMOTE, path.read_text()), path
    assert re.search(REMOTE, '<script src="https://cdn/x.js">') and re.search(REMOTE, "![x](https://x/a.png)")


def test_attack_17_the_3d_page_may_ask_no_server(tmp_path):
    page = view.view_page(tmp_path / "a.html", *column_of_vertebrae(3), spacing_mm=6.0, script_url="n.js").read_text()
    policy = re.search('Content-Security-Policy" content="([^"]+)"', page)[1]
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and set(rules["connect-src"].split()) == {"data:", "blob:"}
    assert not re.search(r"https?:|\*", policy) and not re.search(REMOTE, page)


def test_attack_18_an_executed_notebook_is_not_trusted(tmp_path, monkeypatch):
    from nbformat.sign import NotebookNotary

    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    cells = [nbformat.v4.new_code_cell("run = ''", metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell("run")]
    source = nbformat.v4.new_notebook(cells=cells)
    source.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(source, tmp_path / "01_a.ipynb")
    (tmp_path / "out").mkdir()
    execution.execute(tmp_path / "01_a.ipynb", tmp_path / "out" / "01_a.ipynb", {"run": "x"})
    executed, notary = nbformat.read(tmp_path / "out" / "01_a.ipynb", as_version=4), NotebookNotary()
    assert "'x'" in executed.cells[-1].outputs[0]["data"]["text/plain"] and not notary.check_signature(executed)
    notary.sign(executed)
    assert notary.check_signature(executed)


def test_attack_18_nothing_calls_jupyter_trust():
    files = [
        ROOT / "Makefile",
        ROOT / ".ci" / "run",
        *(ROOT / ".github").rglob("*.yml"),
        *(ROOT / "spineseg").rglob("*.py"),
    ]
    words = r"jupyter[ -]trust|NotebookNotary|nbformat\.sign|mark_cells"
    assert len(files) > 20 and not [p for p in files if re.search(words, p.read_text())]


def test_attack_19_jupyter_listens_here_alone_and_wants_a_token(tmp_path):
    words = re.search(r"^lab:.*\n\t\$\(BIN\)/jupyter lab (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    (tmp_path / "jupyter_server_config.py").write_text(
        "c.ServerApp.ip = '0.0.0.0'\nc.ServerApp.allow_remote_access = True"
    )
    program = (
        "import sys; from jupyter_server.serverapp import ServerApp; app = ServerApp()\n"
        "app.initialize(sys.argv[1:], find_extensions=False, new_httpserver=False)\n"
        "print(app.ip, len(app.identity_provider.token) >= 32, app.allow_remote_access)"
    )
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    environment = {k: v for k, v in os.environ.items() if k != "JUPYTER_TOKEN"} | dict.fromkeys(names, str(tmp_path))
    command = [sys.executable, "-c", program, *(w for w in words if w.startswith("-"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path)
    assert done.stdout.strip() == "127.0.0.1 True False"


def test_attack_19_no_jupyter_server_before_2_18_satisfies_the_project():
    specifier = requirement("jupyter-server").specifier
    assert not specifier.contains("2.17.0") and specifier.contains(importlib.metadata.version("jupyter_server"))


def test_attack_20_free_text_is_blank_in_what_is_written(tmp_path):
    array, _, affine = column_of_vertebrae(3)
    scan = nifti.read_ct(marked(tmp_path / "in.nii.gz", array, affine))
    written = nib.load(nifti.write(tmp_path / "out.nii.gz", scan.array, scan.affine))
    for name in ("descrip", "db_name", "aux_file", "intent_name"):
        assert bytes(written.header[name]).strip(b"\0") == b"", name
    assert len(written.header.extensions) == 0
    assert CANARY.encode() not in plain((tmp_path / "out.nii.gz").read_bytes())


NAME = "CANARY_Meier_Hans_{}"  # of a file


def shown_by(notebook, overrides):
    """All that a notebook shows, run as it lies in this process: text, tables, words of figures."""
    import matplotlib.pyplot as plt
    from matplotlib.text import Text

    names, shown = {"__name__": "__main__"}, []
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, notebook.name, "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), notebook.name, "eval"), names)
            shown += [repr(value), *(f() for f in (getattr(value, "_repr_html_", None),) if f)]
        if "parameters" in cell["metadata"].get("tags", ()):
            names["overrides"] = overrides
        shown += [t.get_text() for n in plt.get_fignums() for t in plt.figure(n).findobj(Text)]
        plt.close("all")
    return shown


def test_attack_20_names_of_files_are_nowhere_in_a_report(tmp_path, monkeypatch, capsys, recwarn):
    for name, folder in (("HOME", "home"), ("REALCT", "no_pairs")):
        monkeypatch.setenv(f"SPINESEG_{name}", str(tmp_path / folder))
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")  # 3D views go beside it
    for i in range(5):
        ct, labels, affine = column_of_vertebrae(i)
        for part, array in (("volumes", ct), ("segmentations", labels))[: 2 - (i == 4)]:  # a scan without its partner
            nifti.write(tmp_path / "set" / part / f"{NAME.format(i)}.nii.gz", array, affine)
    overrides = {name: list(v) if isinstance(v, tuple) else v for name, v in TINY.items()}
    overrides |= {"cohort.layout": "auto", "cohort.folder": str(tmp_path / "set"), "training.epochs": 1}
    shown = []
    for chapter in ("01_eda", "02_preprocessing", "03_training", "04_evaluation", "05_cervical_errors"):
        shown += shown_by(ROOT / "notebooks" / f"{chapter}.ipynb", overrides)
    said = "".join(capsys.readouterr())
    text = "\n".join([*shown, said, *(str(w.message) for w in recwarn)])
    names = pd.read_csv(tmp_path / "home" / "runs" / "smoke" / "splits.csv")["case"]
    assert len(shown) > 100 and any(name in "\n".join(shown) for name in names) and "1 cases left out" in text
    assert not [part for part in ("CANARY", "Meier", "Hans") if part in text]
    written = [p for p in (tmp_path / "home").rglob("*") if "pseudonyms" not in p.parts]
    written += [tmp_path / "book", *(tmp_path / "book").rglob("*"), *(tmp_path / "notebooks").rglob("*")]
    assert len(written) > 50 and not [
        p for p in written if b"CANARY" in bytes(p) + (plain(p.read_bytes()) if p.is_file() else b"")
    ]
    reveal = (tmp_path / "home" / "data" / "pseudonyms").rglob("names.csv")
    assert [(p.stat().st_mode & 0o777, p.read_text().count("CANARY")) for p in reveal] == [(0o600, 16)]


def labelled(name):
    ct, labels, affine = column_of_vertebrae(3)
    return ct, np.where(labels > 0, IDS[name], 0).astype(np.uint8), affine


@pytest.mark.parametrize(("name", "shown"), [("C2", "NEVER"), ("L3", "AUTO"), (None, "NEVER")])
def test_attack_21_a_head_is_shown_in_slices_alone(monkeypatch, name, shown):
    pytest.importorskip("ipyniivue")
    ct, labels, affine = labelled(name or "L3")
    assert view.view(ct, labels if name else None, affine).opts.multiplanar_show_render.name == shown


@pytest.mark.parametrize(("name", "mode"), [("C2", "ZPlane"), ("L3", None)])
def test_attack_21_the_other_viewer_does_not_begin_with_a_volume_of_a_head(monkeypatch, name, mode):
    itkwidgets = pytest.importorskip("itkwidgets")
    monkeypatch.setattr(itkwidgets, "view", lambda **options: options.get("view_mode"))
    assert view.view(*labelled(name), backend="itkwidgets") == mode


def test_attack_21_the_page_hides_the_scan_in_3d():
    program = (ROOT / "spineseg" / "report" / "view_page.js").read_text()
    assert "nv.setOpacity(0, solid ? 0 : 1)" in program and "SHOW_RENDER.NEVER" in program


# --- the network, settings, and what is installed


@pytest.mark.filterwarnings("ignore:A test tried to use")
def test_attack_22_tests_reach_this_machine_and_no_other(server):
    from pytest_socket import SocketConnectBlockedError

    with socket.create_connection(("127.0.0.1", server.port), timeout=5):
        pass
    for address in (("192.0.2.1", 80), ("2001:db8::1", 80)):  # which belong to nobody
        with pytest.raises(SocketConnectBlockedError):
            socket.create_connection(address, timeout=5)


def test_attack_22_importing_everything_asks_nobody_anything():
    program = (
        "import sys, pkgutil, importlib\n"
        "asked = []\n"
        "sys.addaudithook(lambda event, arguments: asked.append((event, arguments)) if event in\n"
        "  ('socket.connect', 'socket.getaddrinfo', 'socket.sendto', 'urllib.Request') else None)\n"
        "import spineseg\n"
        "names = [m.name for m in pkgutil.walk_packages(spineseg.__path__, 'spineseg.')]\n"
        "[importlib.import_module(name) for name in names]\n"
        "print(len(names) > 100, 'kagglehub' in sys.modules, asked)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True False []"


@pytest.mark.parametrize(
    "text",
    ["!!python/object/apply:os.mkdir [{}]", "!!python/object/new:os.mkdir [{}]", "[!!python/name:os.mkdir , {}]"],
)
def test_attack_23_yaml_makes_no_objects(notebook, tmp_path, text):
    with pytest.raises(ValueError, match="'overrides' must be plain YAML"):
        book.check_parameters(Config.load("smoke"), {"overrides": text.format(tmp_path / "sprung")}, [notebook])
    assert not (tmp_path / "sprung").exists()


def test_attack_23_no_other_yaml_loader_is_called():
    assert callers(UNSAFE_YAML) == [] and callers(r"yaml\.safe_load") != []


DECLARED = [line.strip(' ",') for line in re.findall(r'^  "[^"]+",$', PROJECT, re.M)]
LOCK = (ROOT / "requirements.txt").read_text().replace("\\\n", "").splitlines()  # a package a line, then its hashes
LOCKED = [line.split() for line in LOCK if not line.startswith("#")]
TORCH = [line for line in (ROOT / "requirements-torch.txt").read_text().splitlines() if not line.startswith("#")]
PINS = dict(pin.split("==") for pin in [words[0] for words in LOCKED] + TORCH)


def needed(requirement, seen):
    """Names of a requirement and of all that it needs here in turn."""
    name = canonicalize_name(requirement.name)
    if (name, *requirement.extras) in seen:
        return
    seen.add((name, *requirement.extras))
    try:
        texts = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for inner in map(Requirement, texts):
        if any(inner.marker is None or inner.marker.evaluate({"extra": e}) for e in ("", *requirement.extras)):
            needed(inner, seen)


def test_attack_24_all_that_is_installed_is_pinned_to_one_version():
    seen = set()
    for extra in ("", "[architectures]", "[book]", "[dev]"):
        needed(Requirement(f"spineseg{extra}"), seen)
    pinned = {canonicalize_name(name) for name in PINS}
    # what only the CUDA build of torch brings is named by torch's own metadata
    lost = {name for name, *_ in seen} - pinned - {"spineseg"}
    assert len(seen) > 100 and not [name for name in lost if not re.match("nvidia-|cuda-|triton$", name)]
    assert not [version for version in PINS.values() if not re.fullmatch(r"[0-9][0-9a-z.]*", version)]


def test_attack_24_all_but_torch_is_held_to_hashes():
    assert len(LOCKED) > 200 and [pin.split("==")[0] for pin in TORCH] == ["torch"]
    for pin, *hashes in LOCKED:
        assert hashes and all(re.fullmatch("--hash=sha256:[0-9a-f]{64}", h) for h in hashes), pin


def wheel(folder, content):
    """A wheel of a package `planted`, made by hand."""
    path = folder / "planted-1.0-py3-none-any.whl"
    about = "Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n"
    kind = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    folder.mkdir()
    with zipfile.ZipFile(path, "w") as file:
        for name, text in (("planted.py", content), ("planted-1.0.dist-info/METADATA", about)):
            file.writestr(name, text)
        file.writestr("planted-1.0.dist-info/WHEEL", kind)
        file.writestr("planted-1.0.dist-info/RECORD", "")
    return path


def test_attack_24_a_file_of_another_hash_is_not_installed(tmp_path):
    honest, forged = wheel(tmp_path / "honest", "x = 1\n"), wheel(tmp_path / "forged", "x = 2\n")
    pin = f"planted==1.0 --hash=sha256:{hashlib.sha256(honest.read_bytes()).hexdigest()}\n"
    (tmp_path / "lock.txt").write_text(pin)
    options = re.search(r"\$\(INSTALL\) (--require-hashes .*) -r requirements\.txt", (ROOT / "Makefile").read_text())[1]
    command = [sys.executable, "-m", "pip", "install", *options.split(), "-r", str(tmp_path / "lock.txt"), "--no-index"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")} | {"PIP_CONFIG_FILE": os.devnull}
    for folder, accepted in ((forged.parent, False), (honest.parent, True)):
        words = [*command, "--target", str(tmp_path / "to"), "--find-links", str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, env=environment)
        assert (done.returncode == 0) == accepted, done.stderr
        assert (tmp_path / "to" / "planted.py").exists() == accepted
        assert accepted or "DO NOT MATCH THE HASHES" in done.stderr


def test_attack_24_every_installation_is_held_to_the_lock_and_audited():
    lines = re.findall(r"^\t\$\(INSTALL\) (.*)$", (ROOT / "Makefile").read_text(), re.M)
    held = (
        "--require-hashes --no-deps",
        "-r requirements-torch.txt",
        "--no-deps --no-build-isolation -e",
        "-c $(VENV)/pins.txt",
    )
    assert len(lines) == 4 and all(word in line for word, line in zip(held, lines, strict=True))
    assert (ROOT / "Makefile").read_text().count("pip install") == 1  # in INSTALL itself
    steps = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
    assert "bandit -q -r spineseg -ll" in steps
    assert all(
        f"pip-audit --strict {how} --disable-pip -r requirements{which}.txt" in steps
        for how, which in (("--require-hashes", ""), ("--no-deps", "-torch"))
    )
