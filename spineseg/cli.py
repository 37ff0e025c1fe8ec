"""The command line: thin, every option comes from the configuration or a function's own signature."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import tyro

from spineseg.config import ClusterConfig, Config
from spineseg.errors import CaseError, Interrupted, OutOfMemory
from spineseg.options import full_name, take

Positional = tyro.conf.Positional
USER_ERROR, CASE_ERROR, MEMORY_ERROR, SIGNALLED = 2, 1, 3, 128


def phantom(out: Positional[Path], cases: int = 8, seed: int = 0, spacing_mm: float = 3.0) -> int:
    """Write synthetic CTs with perfect labels, in the Kaggle layout.

    Args:
        out: Folder; gets volumes/, segmentations/, cases.csv and truth.csv.
        cases: How many.
        seed: Of the first case; case i has seed + i.
        spacing_mm: Voxel size in mm.
    """
    from spineseg.data.cohort import make_phantoms

    counts = {"cohort.train": cases, "cohort.validation": 0, "cohort.test": 0}
    values = {"cohort.folder": str(out.resolve()), "cohort.seed": seed, "cohort.spacing_mm": spacing_mm}
    print(make_phantoms(Config.load("demo", **values, **counts)))
    return 0


def fetch(source: Positional[str], to: Path | None = None) -> int:
    """Download a published data set: resumed where it broke off, checked, unpacked safely.

    Args:
        source: totalsegmentator, totalsegmentator-small or kaggle.
        to: Folder; data/raw/<source> by default.
    """
    from spineseg.data.fetch import fetch as fetch_source
    from spineseg.paths import raw_folder

    folder = fetch_source(source, to or raw_folder(source))
    print(f"{folder}: next, spineseg audit {folder}")
    return 0


def audit(
    folder: Positional[Path],
    layout: str = "auto",
    scheme: str = "",
    to: Path | None = None,
    json: bool = False,
    fix: Path | None = None,
    nan: Literal["refuse", "air"] = "refuse",
    assume_ras: bool = False,
    workers: int = ClusterConfig.workers,
    scheduler: str = ClusterConfig.scheduler,
) -> int:
    """Look for suspect cases in a data set; one line each: case, severity, code, what was found, what to do.

    Exit status: 0 nothing but notes, 1 errors or warnings, 2 could not run.

    Args:
        folder: The data set.
        layout: kaggle, totalsegmentator, verse, nnunet, pairs, ct, labels, or auto to detect it.
        scheme: Of the labels: spineseg, verse, totalsegmentator-v1 .. v3, or pairs such as "26=S1 27=L5".
        to: Folder for the page and the tables; _build/audit/<name> by default.
        json: Print the findings as JSON in place of lines.
        fix: New folder; every usable case is written there without the faults that can be mended, with a ledger.
        nan: With --fix, air sets missing values to -1000 HU.
        assume_ras: With --fix, take scans without orientation as RAS+.
        workers: Processes.
        scheduler: Address of a dask scheduler to use in place of processes here.
    """
    from spineseg.data.audit.repair import fix_set, new_folder
    from spineseg.data.layouts import list_cases
    from spineseg.report.audit_page import run_audit

    if workers < 1:
        raise ValueError(f"workers must be 1 or more, got {workers}")
    cluster = ClusterConfig(workers=workers, scheduler=scheduler)
    try:
        listing = list_cases(folder, layout, scheme)
        if fix:
            new_folder(fix, listing)  # refused before the work, not after it
        status = run_audit(listing, cluster, to=to, as_json=json)
        if fix:
            print(fix_set(listing, fix, cluster, nan=nan, assume_ras=assume_ras), file=sys.stderr)
        return status
    except CaseError as error:
        print(f"spineseg audit: {error}", file=sys.stderr)
        return USER_ERROR


def prepare(config: Config) -> int:
    """Bring every case of a cohort onto the networks' grids."""
    from spineseg.data import cohort
    from spineseg.data.store import prepare_cohort
    from spineseg.paths import store_folder

    listing = cohort.listing(config)
    print(listing)
    store = prepare_cohort(config, listing.table)
    failures = [*(error for _, error in listing.problems), *store.failures]
    for error in failures:
        print(error, file=sys.stderr)
    print(f"{len(store.table)} cases prepared, {len(failures)} failed, in {store_folder()}")
    return CASE_ERROR if failures else 0


def train(config: Config, method: str, dry_run: bool = False, fork: str = "") -> int:
    """Train a method, or the epochs of it that the run does not have yet."""
    from spineseg import paths
    from spineseg.learning import runs, together
    from spineseg.learning.training import METHODS
    from spineseg.learning.training import train as train_method

    if dry_run:
        from spineseg.learning.cost import forecast

        names = [n for m in (METHODS if method == "both" else (method,)) for n in METHODS[m]]
        print(forecast(config, names))
        return 0
    group = together.group()
    if fork and group.is_first:
        runs.fork(config, fork)
    group.wait()
    for name in METHODS if method == "both" else (method,):
        history = train_method(config, name)
        if not group.is_first:
            continue
        best = history.groupby("network").dice_mean.max()
        for network in METHODS[name]:
            print(f"{network}: {config.training.epochs} epochs, best validation Dice {best[network]:.3f}")
    if group.is_first:
        print(paths.run_folder(config.run))
    return 0


def predict(
    cts: Positional[tuple[Path, ...]],
    out: Path = Path("predictions"),
    run: str = "",
    method: str = "cascade",
    workers: int = 1,
    scheduler: str = ClusterConfig.scheduler,
) -> int:
    """Name and outline the vertebrae of CTs; each label map lies on its CT's own grid.

    Args:
        cts: NIfTI files.
        out: Folder; gets <name>_seg.nii.gz and <name>_vertebrae.csv each.
        run: Trained run whose networks are used; the weights that come with the project when empty.
        method: baseline or cascade, of a run.
        workers: Processes, each with one thread and memory of its own; 1 gives every scan all threads.
        scheduler: Address of a dask scheduler whose workers are used; they must see the same files.
    """
    import json

    from spineseg.data.layouts.listing import stem_of
    from spineseg.learning.predicting import Job, predict_jobs
    from spineseg.learning.runs import load_config

    stems = [stem_of(ct) or ct.name for ct in cts]
    if twice := sorted({s for s in stems if stems.count(s) > 1}):
        raise ValueError(f"two scans would be written as {twice[0]}_seg.nii.gz; predict them into different folders")
    config = json.dumps(load_config(run).to_dict()) if run else ""
    out = out.resolve()
    jobs = [
        Job(ct.absolute(), out / f"{stem}_seg.nii.gz", out / f"{stem}_vertebrae.csv", config, method)
        for ct, stem in zip(cts, stems, strict=True)
    ]
    outcomes = predict_jobs(jobs, ClusterConfig(workers=workers, scheduler=scheduler))
    for ct, outcome in zip(cts, outcomes, strict=True):
        if isinstance(outcome, CaseError):
            print(outcome, file=sys.stderr)
            continue
        table = outcome.table
        names = f"{table.vertebra.iloc[0]}-{table.vertebra.iloc[-1]}" if len(table) else "no vertebra"
        print(f"{ct}: {names}, {len(table)} vertebrae, {int(table.review.sum())} to review")
        for change in outcome.changes:
            print(f"  {change}")
    return CASE_ERROR if any(isinstance(outcome, CaseError) for outcome in outcomes) else 0


def reproduce(run: Positional[str], name: str = "") -> int:
    """Train a run once more from its own record and say whether the numbers agree.

    Exit status: 0 they agree (weights equal to the bit, or mean Dice within 0.005), 1 they do not.

    Args:
        run: Trained run.
        name: Of the new run; <run>-again when empty.
    """
    from spineseg.report.reproduce import reproduce as reproduce_run

    comparison = reproduce_run(run, name)
    print(comparison)
    return 0 if comparison.agrees else CASE_ERROR


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
        labels: CSV with columns scan, place, kind; what a listed scan has no row for is healthy.
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


def pack(run: str = "boxed") -> int:
    """Put a trained cascade into data/weights, for predict to use when no run is named.

    Args:
        run: Trained run whose best networks are taken.
    """
    from spineseg.learning.packing import pack as pack_run
    from spineseg.learning.runs import load_config

    print(pack_run(load_config(run)))
    return 0


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


def report(config: Config, parameters: list[tuple[str, str]]) -> int:
    """Run the notebooks and build the book."""
    from spineseg.report.book import build

    build(config, dict(parameters))
    return 0


COMMANDS = {
    "phantom": phantom,
    "fetch": fetch,
    "audit": audit,
    "prepare": prepare,
    "train": train,
    "predict": predict,
    "reproduce": reproduce,
    "measure": measure,
    "health": health,
    "pack": pack,
    "score": score,
    "report": report,
}
CONFIGURED = ("prepare", "train", "report")  # take every field of the configuration as an option


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the `spineseg` command; a mistake of the user's is one line and an exit status that is not 0."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not words or words[0] not in COMMANDS:
        print("usage: spineseg COMMAND [options]; spineseg COMMAND --help says more\n")
        for name, function in COMMANDS.items():
            print(f"  {name:10} {function.__doc__.splitlines()[0]}")
        return 0 if words[:1] in (["-h"], ["--help"]) else USER_ERROR
    name, rest = words[0], words[1:]
    try:
        if name not in CONFIGURED:
            return tyro.cli(COMMANDS[name], args=rest, prog=f"spineseg {name}")
        return COMMANDS[name](*_configured(name, rest))
    except (CaseError, ValueError, OSError, RuntimeError, FloatingPointError, Interrupted, OutOfMemory) as error:
        print(f"spineseg {name}: {error}", file=sys.stderr)
        return _status(error)


def _status(error: Exception) -> int:
    if isinstance(error, Interrupted):
        return SIGNALLED + error.signum
    if isinstance(error, OutOfMemory):
        return MEMORY_ERROR
    return CASE_ERROR if isinstance(error, CaseError) else USER_ERROR


def _configured(name: str, words: list[str]):
    """Parse every field of the configuration, with the chosen profile's values as defaults."""
    words = [full_name(word) for word in words]
    extra = {"train": ("--method", "both"), "report": ("-p", [])}.get(name)
    own, rest = take(words, extra[0], 2 if name == "report" else 1) if extra else ([], words)
    dry, rest = take(rest, "--dry-run", 0) if name == "train" else ([], rest)
    fork, rest = take(rest, "--fork", 1) if name == "train" else ([], rest)
    profile, _ = take(rest, "--profile", 1)
    run, _ = take(rest, "--run", 1)
    default = Config.load(profile[-1][0] if profile else "smoke", run[-1][0] if run else "")
    about = COMMANDS[name].__doc__ + {
        "prepare": "\n\nAlso: --workers N, --scheduler ADDRESS for the same of --cluster.",
        "train": "\n\nAlso: --epochs N for --training.epochs N, --method baseline, cascade or both,"
        "\n--dry-run to say what a step costs (parameters, arithmetic, memory) and train nothing,"
        "\n--fork RUN to begin a new run with the networks of another.",
        "report": "\n\nAlso: -p NAME VALUE gives a parameter to the notebooks; may be repeated.",
    }.get(name, "")
    config = tyro.cli(Config, args=rest, default=default, prog=f"spineseg {name}", description=about).checked()
    if name == "train":
        return config, own[-1][0] if own else "both", bool(dry), fork[-1][0] if fork else ""
    return (config, [tuple(pair) for pair in own]) if name == "report" else (config,)


if __name__ == "__main__":
    sys.exit(main())
