import base64
import gzip
import json
import re

import ipywidgets
import nibabel
import numpy as np
import pytest

from spineseg.anatomy.labels import IDS
from spineseg.report import view

SHAPE = (13, 18, 9)
AFFINE = np.diag([-2.0, 3.0, 1.5, 1.0])


def scan():
    rng = np.random.default_rng(0)
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:8, 6:10, 2:5] = IDS["T4"]
    labels[4:8, 6:10, 5:8] = IDS["T3"]
    return rng.normal(40, 200, SHAPE), labels


def data_of(page):
    return json.loads(re.search(r"const data = (\{.*\});\n", page)[1])


def volume_of(packed):
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(packed)))


def test_page_holds_everything_and_asks_no_server(tmp_path):
    page = view.view_page(tmp_path / "deep" / "a.html", *scan(), AFFINE, spacing_mm=1.0).read_text()
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)\s*=", page)
    assert "default-src 'none'" in page
    assert page.count("<script>") == page.count("</script>") == 2


def test_shared_script_is_referred_to_relative_to_the_page(tmp_path):
    page = view.view_page(tmp_path / "a.html", *scan(), AFFINE, spacing_mm=1.0, script_url="../niivue.js").read_text()
    assert '<script src="../niivue.js"></script>' in page and len(page) < 100_000


def test_markup_in_the_title_is_shown_as_text(tmp_path):
    title = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    page = view.view_page(
        tmp_path / "a.html", *scan(), AFFINE, spacing_mm=1.0, title=title, script_url="n.js"
    ).read_text()
    assert "<script>alert" not in page and "<img" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert data_of(page)["title"] == title


def test_embedded_volumes_are_the_scan_in_its_place(tmp_path):
    ct_hu, labels = scan()
    data = data_of(
        view.view_page(tmp_path / "a.html", ct_hu, labels, AFFINE, spacing_mm=1.0, script_url="n").read_text()
    )
    found = volume_of(data["labels"])
    assert np.array_equal(np.asarray(found.dataobj), labels)
    assert np.allclose(found.affine, AFFINE)
    assert np.array_equal(np.asarray(volume_of(data["ct"]).dataobj), view.to_grey(ct_hu))


def test_vertebrae_are_listed_from_the_head_down_with_their_centres(tmp_path):
    data = data_of(view.view_page(tmp_path / "a.html", *scan(), AFFINE, spacing_mm=1.0, script_url="n").read_text())
    assert [v["name"] for v in data["vertebrae"]] == ["T3", "T4"]
    assert data["vertebrae"][0]["mm"] == [-11.0, 22.5, 9.0]


def test_background_is_transparent_and_vertebrae_are_not():
    palette = view._palette()
    assert palette["A"] == [0] + [255] * 25 and palette["labels"][25] == "S1"


def test_merging_blocks_keeps_places_in_the_world():
    image = np.arange(4 * 6 * 8, dtype=np.uint8).reshape(4, 6, 8)
    affine = np.array([[0, -1.0, 0, 5], [1.0, 0, 0, -7], [0, 0, 3.0, 2], [0, 0, 0, 1]])
    merged, labels, moved = view.downsample(image, image, affine, spacing_mm=2.0)
    assert merged.shape == (2, 3, 8)  # 1, 1 and 3 mm: pairs along the first two axes
    assert merged[0, 0, 0] == image[:2, :2, 0].mean().astype(np.uint8)
    assert labels[0, 0, 0] == image[1, 1, 0]
    assert np.allclose(moved @ [1, 2, 3, 1], affine @ [2.5, 4.5, 3, 1])


def test_coarse_scan_is_left_alone():
    image = np.ones(SHAPE, np.uint8)
    merged, _, affine = view.downsample(image, image, AFFINE, spacing_mm=0.5)
    assert merged.shape == SHAPE and np.array_equal(affine, AFFINE)


def test_window_ends_are_black_and_white():
    assert view.to_grey(np.array([-2000.0, -500.0, 1300.0, 9000.0, np.nan])).tolist() == [0, 0, 252, 252, 0]


def test_book_view_writes_beside_the_notebooks_and_frames_it(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.delenv(view.OPEN_NOTEBOOK, raising=False)
    frame = view.book_view("case", *scan(), AFFINE)
    assert (tmp_path / "book" / "_static" / "views" / "case.html").is_file()
    assert 'src="../_static/views/case.html"' in frame._repr_html_()


def test_an_open_notebook_gets_a_widget_in_place_of_the_frame(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.setenv(view.OPEN_NOTEBOOK, "notebooks/01_eda.ipynb")
    assert isinstance(view.book_view("case", *scan(), AFFINE), ipywidgets.Widget)
    assert not (tmp_path / "book").exists()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"labels": np.zeros((2, 2, 2), np.uint8)}, "labels must have the shape of ct_hu"),
        ({"affine": np.eye(3)}, "affine must be"),
        ({"spacing_mm": 0.0}, "spacing_mm must be positive"),
    ],
)
def test_wrong_input_is_named(tmp_path, change, match):
    ct_hu, labels = scan()
    values = {"labels": labels, "affine": AFFINE, "spacing_mm": 1.0} | change
    with pytest.raises(ValueError, match=match):
        view.view_page(tmp_path / "a.html", ct_hu, values["labels"], values["affine"], spacing_mm=values["spacing_mm"])


def test_unknown_backend_lists_the_known_ones():
    with pytest.raises(ValueError, match="one of ipyniivue, itkwidgets, got 'vtk'"):
        view.view(*scan(), AFFINE, backend="vtk")


def test_widget_carries_both_volumes():
    pytest.importorskip("ipyniivue")
    widget = view.view(*scan(), AFFINE)
    assert len(widget.volumes) == 2


def test_itkwidgets_outside_jupyterlab_says_what_to_do():
    pytest.importorskip("itkwidgets")
    with pytest.raises(RuntimeError, match="no JupyterLab to draw in"):
        view.view(*scan(), AFFINE, backend="itkwidgets")
