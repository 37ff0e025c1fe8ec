import json

import pytest

from spineseg import paths
from spineseg.evaluation.measure_errors import P90, SPACINGS_MM, error_bars


def test_error_bars_are_those_that_were_measured():
    measured = json.loads((paths.results_folder() / "morphometry.json").read_text())["perfect"]
    for k, spacing in enumerate(SPACINGS_MM):
        rows = {row["measure"]: row["p90"] for row in measured[str(spacing)]}
        for name, values in P90.items():
            assert values[k] == pytest.approx(rows[name], abs=0.006), (name, spacing)


def test_between_the_voxel_sizes_that_were_tried_errors_lie_between_and_beyond_they_grow():
    fine, middle, coarse, coarser = (error_bars(mm)["body height (mm)"] for mm in (1.5, 2.0, 3.0, 6.0))
    assert fine < middle < coarse and coarser == pytest.approx(2 * coarse, abs=0.02)
    assert error_bars(0.4)["slip (mm)"] == pytest.approx(error_bars(1.0)["slip (mm)"])
    with pytest.raises(ValueError, match="spacing_mm must be positive, got 0"):
        error_bars(0)
