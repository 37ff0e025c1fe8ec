import numpy as np
import pytest

from spineseg import paths
from spineseg.config import Config
from spineseg.data import nifti

TINY = {
    "cohort.layout": "pairs", "cohort.folder": "tiny", "cluster.workers": 1, "cohort.train_share": 0.5,
    "cohort.validation_share": 0.25, "baseline.steps_per_epoch": 1, "coarse.steps_per_epoch": 2,
    "baseline.patch": (16, 16, 16), "fine.patch": (16, 16, 16), "inference.patch": (16, 16, 16),
    "baseline.batch": 1, "fine.batch": 1, "training.precision": "fp32", "training.validation_patches": 1,
    "inference.smallest_ml": 0.0,
}  # fmt: skip


def column_of_vertebrae(seed: int):
    """A CT of a few bright blocks on top of each other, and their labels."""
    rng = np.random.default_rng(seed)
    ct = rng.normal(40, 20, (30, 28, 40)).astype(np.int16)
    ct[:4] = -1000
    labels = np.zeros(ct.shape, np.uint8)
    for i, name in enumerate((24, 23, 22, 21)):
        box = (slice(11, 18), slice(10, 17), slice(2 + 9 * i, 9 + 9 * i))
        labels[box], ct[box] = name, 400 + 40 * i
    return ct, labels, np.diag([6.0, 6.0, 6.0, 1.0])


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A project folder with four small pairs under data/raw/tiny; `SPINESEG_HOME` points there."""
    folder = tmp_path_factory.mktemp("home")
    for seed in range(4):
        ct, labels, affine = column_of_vertebrae(seed)
        nifti.write(folder / "data" / "raw" / "tiny" / f"s{seed}_ct.nii.gz", ct, affine)
        nifti.write(folder / "data" / "raw" / "tiny" / f"s{seed}_seg.nii.gz", labels, affine)
    real = paths.real_ct_folder()  # stays where it is, although the project's home moves
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPINESEG_HOME", str(folder))
        patch.setenv("SPINESEG_REALCT", str(real))
        yield folder


@pytest.fixture
def tiny(home):
    """A configuration for those pairs, by run name and epochs."""

    def load(run: str, epochs: int = 1, **overrides) -> Config:
        return Config.load("smoke", run, epochs, **(TINY | overrides))

    return load


@pytest.fixture(scope="session")
def trained(home):
    """The configuration of a run with both methods trained for one epoch."""
    from spineseg.learning.training import METHODS, train

    config = Config.load("smoke", "trained", 1, **TINY)
    for method in METHODS:
        train(config, method)
    return config
