"""Curves to the side, called per scan by the Cobb angle alone."""

import pandas as pd


def curves(scans: pd.DataFrame, limit: float) -> dict:
    """Scoliosis called by the Cobb angle of a scan, against the angle that it was drawn with.

    Args:
        scans: `cobb`, `true_cobb` and `true_scoliosis` (severity, nan where none was planted), a row per scan.
        limit: Degrees from which a curve counts.

    Returns:
        Counts, sensitivity and specificity against the true angle of the bodies in view, the error of the angle, and
        how many of the planted curves that are in view are called.
    """
    known = scans[scans["true_cobb"].notna() & scans["cobb"].notna()]
    truth, yes = known["true_cobb"] >= limit, known["cobb"] >= limit
    error = known["cobb"] - known["true_cobb"]
    planted = known["true_scoliosis"].notna() & truth
    row = {"scans": len(known), "unmeasured": int((scans["true_cobb"].notna() & scans["cobb"].isna()).sum())}
    row |= {"cases": int(truth.sum()), "called": int((truth & yes).sum()), "raised": int((~truth & yes).sum())}
    row |= {"planted": int(planted.sum()), "planted_called": int((planted & yes).sum())}
    row |= {"sensitivity": float(yes[truth].mean()), "specificity": float((~yes[~truth]).mean())}
    row |= {"bias": error.median(), "median": error.abs().median(), "p90": error.abs().quantile(0.9)}
    return {k: round(float(v), 4) if isinstance(v, float) else v for k, v in row.items()}
