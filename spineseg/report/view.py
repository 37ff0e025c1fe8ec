"""A scan and its vertebrae in 3D: a widget for JupyterLab and a page of its own for the book.

Widgets are blank in a printed book and the book must work without a network, so `view` serves the first and
`view_page` the second; both paint a vertebra in its one colour.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from spineseg.anatomy.labels import IDS, N_CLASSES, VERTEBRAE, colours
from spineseg.config import Config

BACKENDS = ("ipyniivue", "itkwidgets")
OPEN_NOTEBOOK = "JPY_SESSION_NAME"  # set by the Jupyter server for the kernel of a notebook that is open in a browser
GREY_STEP = 4  # grey levels per stored level: nobody sees the difference and the page is a third smaller
_ASSETS = Path(__file__).parent
_NIIVUE = Path(__file__).parents[2] / "book" / "_static" / "niivue.js"


def view(ct_hu, labels, affine, *, backend="ipyniivue"):
    """Interactive view for JupyterLab.

    A scan that may hold a head (it shows a neck, or its labels are not given) is drawn in slices alone: skin in 3D is a
    face, and a face is a name.

    Args:
        ct_hu: `(I, J, K)` HU.
        labels: Label map of the same shape, 0..25; None shows the scan alone.
        affine: `(4, 4)`, voxel index to RAS+ mm.
        backend: `ipyniivue`, or `itkwidgets`, which needs a network connection.

    Returns:
        A widget; leave it as the last line of a cell.

    Raises:
        ValueError: If the backend is unknown or the shapes differ.
        RuntimeError: If itkwidgets is asked for outside JupyterLab.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    _check(ct_hu, labels, affine)
    return (_view_niivue if backend == "ipyniivue" else _view_itk)(np.asarray(ct_hu), labels, np.asarray(affine, float))


def view_page(path, ct_hu, labels, affine, *, spacing_mm, title="", script_url=None):
    """Write one HTML page with the scan and its vertebrae, to turn, slice and fade; it asks no server for anything.

    Args:
        path: File to write; missing folders are made.
        ct_hu: `(I, J, K)` HU.
        labels: Label map of the same shape, 0..25.
        affine: `(4, 4)`, voxel index to RAS+ mm.
        spacing_mm: Voxels are merged in whole blocks until they are about this large, to keep the page small.
        title: Text above the picture; any markup in it is shown as text.
        script_url: Where the page finds `niivue.js`, relative to itself; None puts the script (0.9 MB) inside.

    Returns:
        The path written.

    Raises:
        ValueError: If the shapes differ or `spacing_mm` is not positive.
        FileNotFoundError: If the script is to be put inside and the checkout does not hold it.
    """
    _check(ct_hu, labels, affine)
    if not spacing_mm > 0:
        raise ValueError(f"spacing_mm must be positive, got {spacing_mm}")
    image, labels, affine = downsample(to_grey(ct_hu), np.asarray(labels, np.uint8), affine, spacing_mm=spacing_mm)
    data = {
        "ct": _packed(image, affine),
        "labels": _packed(labels, affine),
        "palette": _palette(),
        "vertebrae": _present(labels, affine),
        "title": str(title),
    }
    if script_url is None:
        script = f"<script>{_niivue_source()}</script>"
    else:
        script = f'<script src="{html.escape(str(script_url), quote=True)}"></script>'
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        _PAGE.format(
            title=html.escape(str(title)) or "Scan and vertebrae",
            style=(_ASSETS / "view_page.css").read_text(),
            niivue=script,
            # "<" never appears in the data, so no text can close the script element
            data=json.dumps(data).replace("<", "\\u003c"),
            program=(_ASSETS / "view_page.js").read_text(),
        )
    )
    return path


def book_view(name, ct_hu, labels, affine, *, title="", height_px=460):
    """Write a page among the book's static files and return the frame that shows it in the book; in Jupyter, a widget.

    Call it from a notebook: the page lands in `../book/_static/views`, beside the notebook's own folder.

    Args:
        name: Of the page, without ending.
        ct_hu: `(I, J, K)` HU.
        labels: Label map of the same shape.
        affine: `(4, 4)`, voxel index to RAS+ mm.
        title: Text above the picture.
        height_px: Height of the frame.

    Returns:
        An `IPython.display.IFrame` whose address is valid in the built book, or `view` where a person has the notebook
        open in Jupyter and that address leads nowhere.
    """
    from IPython.display import IFrame

    if os.environ.get(OPEN_NOTEBOOK):
        return view(ct_hu, labels, affine)

    path = Path.cwd().parent / "book" / "_static" / "views" / f"{name}.html"
    spacing_mm = Config().report.view_spacing_mm
    view_page(path, ct_hu, labels, affine, spacing_mm=spacing_mm, title=title, script_url="../niivue.js")
    label = f'title="{html.escape(name)}"'
    return IFrame(f"../_static/views/{name}.html", width="100%", height=height_px, extras=[label])


def to_grey(ct_hu):
    """HU through the configured window to 0..255, in steps of `GREY_STEP`.

    Args:
        ct_hu: Array of HU; what is not a number becomes 0.

    Returns:
        uint8 array of the same shape.
    """
    window = Config().preparation
    share = (np.asarray(ct_hu, np.float32) - window.window_low_hu) / (window.window_high_hu - window.window_low_hu)
    grey = np.nan_to_num(share).clip(0, 1) * 255
    return (grey / GREY_STEP).astype(np.uint8) * np.uint8(GREY_STEP)


def downsample(image, labels, affine, *, spacing_mm):
    """Merge whole blocks of voxels: the mean of the image, the middle voxel of the label map.

    Args:
        image: `(I, J, K)` uint8.
        labels: `(I, J, K)` uint8.
        affine: `(4, 4)`, voxel index to RAS+ mm.
        spacing_mm: Voxel size to come near to; an axis that is coarser already stays.

    Returns:
        `(image, labels, affine)` of the merged grid. Voxels at the end that fill no block are dropped.
    """
    affine = np.asarray(affine, float)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    blocks = np.clip(np.round(spacing_mm / spacing), 1, image.shape).astype(int)
    shape = np.array(image.shape) // blocks
    cut = tuple(slice(0, n) for n in shape * blocks)
    pairs = [n for axis in zip(shape, blocks, strict=True) for n in axis]
    merged = image[cut].reshape(pairs).mean(axis=(1, 3, 5)).astype(np.uint8)
    middle = tuple(slice(b // 2, None, b) for b in blocks)
    to_merged = np.diag([*blocks, 1.0])
    to_merged[:3, 3] = (blocks - 1) / 2  # index 0 of the merged grid is the middle of the first block
    return merged, labels[cut][middle], affine @ to_merged


def _check(ct_hu, labels, affine):
    shape = np.shape(ct_hu)
    if len(shape) != 3:
        raise ValueError(f"ct_hu must be (I, J, K), got shape {shape}")
    if labels is not None and np.shape(labels) != shape:
        raise ValueError(f"labels must have the shape of ct_hu {shape}, got {np.shape(labels)}")
    if np.shape(affine) != (4, 4):
        raise ValueError(f"affine must be (4, 4), got {np.shape(affine)}")


def _palette():
    """The classes' colours as NiiVue wants them: a list per channel, 0..255, background transparent."""
    rgb = np.round(colours() * 255).astype(int)
    return {
        "R": rgb[:, 0].tolist(), "G": rgb[:, 1].tolist(), "B": rgb[:, 2].tolist(),
        "A": [0] + [255] * (N_CLASSES - 1), "I": list(range(N_CLASSES)), "labels": ["", *VERTEBRAE],
    }  # fmt: skip


def _present(labels, affine):
    """Name, identifier and centroid in mm of every vertebra in the label map, from the head down."""
    found = []
    for name in VERTEBRAE:
        places = np.argwhere(labels == IDS[name])
        if len(places):
            centre = affine @ [*places.mean(0), 1.0]
            found.append({"name": name, "id": IDS[name], "mm": centre[:3].round(1).tolist()})
    return found


def _nifti_bytes(array, affine):
    import nibabel

    return gzip.compress(nibabel.Nifti1Image(array, affine).to_bytes(), 6, mtime=0)


def _packed(array, affine):
    return base64.b64encode(_nifti_bytes(array, affine)).decode()


def _niivue_source():
    if not _NIIVUE.is_file():
        raise FileNotFoundError(f"{_NIIVUE}: not found; run from a checkout of the project or pass script_url")
    return _NIIVUE.read_text().replace("</script", "<\\/script")


def _may_hold_a_head(labels) -> bool:
    neck = [i for name, i in IDS.items() if name.startswith("C")]
    return labels is None or bool(np.isin(labels, neck).any())


def _view_niivue(ct_hu, labels, affine):
    from ipyniivue import NiiVue, ShowRender

    folder = Path(tempfile.mkdtemp(prefix="spineseg-view-"))
    low, high = Config().preparation.window_low_hu, Config().preparation.window_high_hu
    (folder / "ct.nii.gz").write_bytes(_nifti_bytes(ct_hu.astype(np.int16), affine))
    volumes = [{"path": folder / "ct.nii.gz", "colormap": "gray", "cal_min": low, "cal_max": high}]
    if labels is not None:
        (folder / "labels.nii.gz").write_bytes(_nifti_bytes(np.asarray(labels, np.uint8), affine))
        volumes.append({"path": folder / "labels.nii.gz", "opacity": 0.7})
    options = {"multiplanar_show_render": ShowRender.NEVER} if _may_hold_a_head(labels) else {}
    widget = NiiVue(height=480, **options)
    widget.load_volumes(volumes)
    if labels is not None:
        widget.volumes[1].set_colormap_label(_palette())
    return widget


def _view_itk(ct_hu, labels, affine):
    from itkwidgets import view as itk_view
    from ngff_zarr import to_ngff_image

    scale = dict(zip("xyz", np.linalg.norm(affine[:3, :3], axis=0).tolist(), strict=True))
    images = {"image": ct_hu} if labels is None else {"image": ct_hu, "label_image": np.asarray(labels, np.uint8)}
    # ITK lists axes from K to I; it shows sizes in mm, not the place in the patient
    images = {k: to_ngff_image(np.ascontiguousarray(v.T), dims=tuple("zyx"), scale=scale) for k, v in images.items()}
    try:
        return itk_view(**images, **({"view_mode": "ZPlane"} if _may_hold_a_head(labels) else {}))
    except AttributeError as error:  # its connection to JupyterLab is None
        message = "itkwidgets found no JupyterLab to draw in; open the notebook there, with a network connection"
        raise RuntimeError(f"{message}, or use backend='ipyniivue'") from error


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline' 'self' file:; \
style-src 'unsafe-inline'; img-src data: blob:; connect-src data: blob:; worker-src blob:; font-src data:">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1>
<div role="group" aria-label="View">
<button data-view="solid">3D</button><button data-view="slices">Slices</button>
</div>
<label>vertebrae <input id="opacity" type="range" min="0" max="100" value="100" aria-label="Opacity"></label>
</header>
<main><canvas id="canvas" role="img" aria-label="Scan with coloured vertebrae"></canvas></main>
<footer><output id="place"></output><nav id="legend" aria-label="Vertebrae"></nav></footer>
{niivue}
<script>const data = {data};
{program}</script>
</body>
</html>
"""
