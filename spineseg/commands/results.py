"""Label maps: scored, measured, called, printed in the book."""

from __future__ import annotations

from pathlib import Path

import tyro

from spineseg.config import Config

Positional = tyro.conf.Positional


def score(reference: Path, prediction: Path, out: Path | None = None) -> int:
    """Score a folder of label maps against a folder of references with the same file names.

    Args:
        reference: Folder of label maps.
        prediction: Folder of label maps.
        out: CSV file for one row per case and vertebra.
    """
    from spineseg.report.results import score_folders

    scores, table = score_folders(reference, prediction, Config().evaluation)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        scores.to_csv(out, index=False)
    print(table.round(3).to_string(index=False))
    return 0


def measure(
    ct: Positional[Path],
    segmentation: Positional[Path],
    out: Path = Path("measures"),
    scheme: str = "",
    call: Path | None = None,
) -> int:
    """Measure vertebrae and discs: heights, angles, slips, density; tables, a JSON and a page. Not a diagnosis.

    Args:
        ct: NIfTI file.
        segmentation: Label map on the same grid, such as predict writes, or a folder with one file per vertebra.
        out: Folder; gets vertebrae.csv, discs.csv, measures.json and index.html.
        scheme: Of the labels, as for audit; ours when empty.
        call: Model that health wrote, whose probabilities go onto the page; the one that comes with the project if none
            is named.
    """
    from spineseg.learning import health as model_of
    from spineseg.report.health_training import boxed
    from spineseg.report.measuring import calls_of, measure_files, write_measures

    model = model_of.load(call or boxed())[0] if call or boxed().is_file() else None
    measured = measure_files(ct, segmentation, Config().morphometry, scheme=scheme)
    page = write_measures(measured, out, calls=calls_of(measured, model) if model else None)
    for row in measured.findings.itertuples():
        print(f"{row.place}: {row.finding}, {row.value} ({row.rule})")
    print(f"{len(measured.exam.vertebrae)} vertebrae, {len(measured.exam.discs)} discs: {page}")
    return 0


def health(
    out: Positional[Path],
    phantoms: int = 120,
    seed: int = 20280000,
    labels: Path | None = None,
    measured: Path | None = None,
) -> int:
    """Fit the call from measurements to kinds of pathology: on phantoms, or on your own scans and labels.

    Args:
        out: JSON file of the model.
        phantoms: How many are made, with planted pathology, if no labels are given.
        seed: Of the first phantom.
        labels: CSV with columns scan, place, kind; what a listed scan has no row for is healthy. Or VerSe's table of
            Genant grades, saved as CSV: columns verse_ID and such as L1_fx-g.
        measured: Folder with one folder per scan, as measure writes them; goes with labels.
    """
    from spineseg.report.health_training import labelled_tables, phantom_tables, train

    if (labels is None) != (measured is None):
        raise ValueError("--labels and --measured go together: the table, and the folder of the scans that it names")
    config = Config()
    if labels is not None:
        tables, source = labelled_tables(measured, labels), f"labels of {labels.name}"
    else:
        if phantoms < 1:
            raise ValueError(f"phantoms must be 1 or more, got {phantoms}")
        tables, source = phantom_tables(phantoms, seed, config), f"{phantoms} phantoms from seed {seed}"
    print("\n".join(train(tables, source, out, config)))
    return 0


def report(config: Config, parameters: list[tuple[str, str]]) -> int:
    """Run the notebooks and build the book."""
    from spineseg.report.book import build

    build(config, dict(parameters))
    return 0
