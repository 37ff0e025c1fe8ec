"""The call on made-up measurements in which the answer is plain, and on two measured phantoms."""

import json

import numpy as np
import pandas as pd
import pytest

from spineseg.anatomy.clinical import DISC_COLUMNS, VERTEBRA_COLUMNS
from spineseg.anatomy.labels import VERTEBRAE
from spineseg.anatomy.phantom.planting import Pathology
from spineseg.anatomy.planted_cohort import planted_case, renamed
from spineseg.cli import main
from spineseg.config import Config, HealthConfig, MorphometryConfig
from spineseg.evaluation.health_features import OF_DISC, OF_VERTEBRA, features_of
from spineseg.evaluation.operating import auc
from spineseg.learning import health
from spineseg.report.health_training import labelled_tables, train

SMALL = HealthConfig(trees=15, folds=3, least_cases=5)
LEVELS = VERTEBRAE[16:24]


def scan(seed, broken=(), narrow=()):
    """Measurements of T10 to L5 with a third of the height in front, or half of the disc, gone."""
    rng = np.random.default_rng(seed)
    bone = pd.DataFrame({c: np.nan for c in VERTEBRA_COLUMNS}, index=range(len(LEVELS)))
    bone["vertebra"] = LEVELS
    bone["genant_kind"] = ""
    for c, value in {"height_anterior_mm": 25, "height_middle_mm": 24, "height_posterior_mm": 26, "hu_median": 150,
                     "endplate_top_hu": 200, "endplate_bottom_hu": 200, "depth_mm": 34, "hollow_top_mm": 1,
                     "hollow_bottom_mm": 1, "pit_top_mm": 0.5, "pit_bottom_mm": 0.5, "dip_top_mm": 0.5,
                     "dip_bottom_mm": 0.5, "lip_top_mm": 1, "lip_bottom_mm": 1,
                     "wedge_degrees": 1}.items():  # fmt: skip
        bone[c] = value * (1 + 0.04 * rng.normal(size=len(bone)))
    bone.loc[bone["vertebra"].isin(broken), "height_anterior_mm"] *= 0.67
    gaps = pd.DataFrame({c: np.nan for c in DISC_COLUMNS}, index=range(len(LEVELS) - 1))
    gaps["disc"] = [f"{a}-{b}" for a, b in zip(LEVELS, LEVELS[1:], strict=False)]
    for c, value in {"height_anterior_mm": 9, "height_middle_mm": 9, "height_posterior_mm": 7, "disc_hu": 80,
                     "gas_share": 0, "slip_mm": 0.5, "angle_degrees": 4}.items():  # fmt: skip
        gaps[c] = value * (1 + 0.06 * rng.normal(size=len(gaps)))
    gaps.loc[gaps["disc"].isin(narrow), "height_middle_mm"] *= 0.5
    bone["true_fracture"] = np.where(bone["vertebra"].isin(broken), 0.5, np.nan)
    gaps["true_narrow"] = np.where(gaps["disc"].isin(narrow), 0.5, np.nan)
    return bone.assign(seed=seed), gaps.assign(seed=seed)


def cohort(first, count):
    scans = [scan(s, [LEVELS[s % 8]], [f"{LEVELS[s % 7]}-{LEVELS[s % 7 + 1]}"]) for s in range(first, first + count)]
    return tuple(pd.concat(tables, ignore_index=True) for tables in zip(*scans, strict=True))


@pytest.fixture(scope="module")
def model():
    return health.fit(health.with_features(*cohort(0, 24)), SMALL)


def test_plain_cases_are_told_from_the_rest_on_other_patients(model):
    assert set(model["vertebrae"]) == {"fracture"} and set(model["discs"]) == {"narrow"}
    tables = health.with_features(*cohort(100, 8))
    for table, kind in (("vertebrae", "fracture"), ("discs", "narrow")):
        rows = tables[table]
        p = model[table][kind].probability(rows)
        assert auc(p, rows[f"true_{kind}"].notna()) > 0.99
        assert abs(p.mean() - rows[f"true_{kind}"].notna().mean()) < 0.05


def test_plain_numbers_give_the_probabilities_of_the_library(model):
    from sklearn.ensemble import GradientBoostingClassifier

    rows = health.with_features(*cohort(0, 24))["vertebrae"]
    values, truth = rows[list(OF_VERTEBRA)].astype(float), rows["true_fracture"].notna()
    filled = values.fillna(values.median().fillna(0.0)).to_numpy(np.float32)
    theirs = GradientBoostingClassifier(
        n_estimators=15, max_depth=3, learning_rate=0.1, subsample=0.7, min_samples_leaf=5, random_state=0
    ).fit(filled, truth)
    np.testing.assert_allclose(model["vertebrae"]["fracture"].margin(rows), theirs.decision_function(filled), atol=1e-4)


def test_a_saved_call_says_what_it_is_and_gives_the_same(model, tmp_path):
    health.save(model, tmp_path / "call.json", {"source": "made up"})
    assert json.loads((tmp_path / "call.json").read_text())["caveat"] == health.CAVEAT
    again, about = health.load(tmp_path / "call.json")
    assert about == {"source": "made up"}
    bone, gaps = scan(5, ["L1"])
    for part, table in health.call(again, bone, gaps).items():
        pd.testing.assert_frame_equal(table, health.call(model, bone, gaps)[part])
    (tmp_path / "other.json").write_text('{"model": 3}')
    with pytest.raises(ValueError, match="holds no call"):
        health.load(tmp_path / "other.json")


def test_a_call_names_every_row_and_is_open_where_nothing_was_measured(model):
    bone, gaps = scan(5, ["L1"])
    bone.loc[0, "height_middle_mm"] = np.nan
    found = health.call(model, bone, gaps)
    assert found["vertebrae"]["vertebra"].tolist() == list(LEVELS)
    assert np.isnan(found["vertebrae"]["fracture"].iloc[0])
    assert found["vertebrae"]["fracture"].idxmax() == list(LEVELS).index("L1")
    empty = health.call(model, bone.iloc[:0], gaps.iloc[:0])
    assert empty["vertebrae"].empty and empty["discs"].empty


def test_the_features_that_decide_are_those_that_differ(model):
    assert health.importance(model["vertebrae"]["fracture"]).index[0].startswith("front_to")
    assert health.importance(model["discs"]["narrow"]).index[0] in ("height", "height_to_neighbours", "least",
                                                                    "front_to_middle", "back_to_middle")  # fmt: skip


def test_features_of_a_measured_phantom_have_every_name_and_truth_every_kind():
    pathology = Pathology(0.5, 0.5, 1.0)
    bone, gaps = planted_case(3, pathology, MorphometryConfig())
    first, second = features_of(bone, gaps)
    assert list(first) == list(OF_VERTEBRA) and list(second) == list(OF_DISC) and len(first) == len(bone)
    assert first[["pit", "dip"]].notna().any().all()
    seen = [c for c in (*bone, *gaps) if c.startswith("true_")]
    assert len(seen) == 9 and first["front_to_back"].between(0.2, 1.8).sum() >= 2
    planted = {c for t in (bone, gaps) for c in t if c.startswith("true_") and t[c].notna().any()}
    assert planted


def test_the_deeper_pit_counts_against_the_other_end_and_the_neighbours():
    bone, gaps = scan(0)
    bone[["pit_top_mm", "pit_bottom_mm", "dip_top_mm", "dip_bottom_mm"]] = 0.5
    bone.loc[3, ["pit_bottom_mm", "dip_top_mm"]] = 2.5
    bone.loc[4, "dip_bottom_mm"] = np.nan  # this end leaves the scan
    found = features_of(bone, gaps)[0]
    for name in ("pit", "dip"):
        assert found.loc[3, [name, f"{name}_difference", f"{name}_to_neighbours"]].tolist() == [2.5, 2.0, 2.0]
    assert found.loc[4, "dip"] == 0.5 and np.isnan(found.loc[4, "dip_difference"])


def test_measures_of_an_older_version_have_no_value_for_what_it_did_not_measure():
    bone, gaps = scan(0)
    found = features_of(bone.drop(columns=["pit_top_mm", "pit_bottom_mm"]), gaps)[0]
    assert found["pit"].isna().all() and found["dip"].notna().all()


def test_predicted_vertebrae_bear_the_names_of_those_they_lie_on():
    reference = np.zeros((4, 4, 12), np.uint8)
    for k, label in enumerate((20, 21, 22)):
        reference[..., 4 * k : 4 * k + 3] = label
    predicted = np.where(reference > 0, reference - 1, 0).astype(np.uint8)
    predicted[0, 0, 11] = 9  # on nothing
    np.testing.assert_array_equal(renamed(predicted, reference), reference)


def test_a_groups_own_labels_are_learnt_and_mistakes_in_them_named(tmp_path):
    lines = ["scan,place,kind"]
    for s in range(12):
        name, narrow = f"patient{s}", [f"{LEVELS[s % 7]}-{LEVELS[s % 7 + 1]}"]
        bone, gaps = (t.drop(columns=[c for c in t if c.startswith("true_")] + ["seed"]) for t in scan(s, [], narrow))
        (tmp_path / name).mkdir()
        bone.to_csv(tmp_path / name / "vertebrae.csv", index=False)
        gaps.to_csv(tmp_path / name / "discs.csv", index=False)
        lines += [f"{name},{place},osteochondrosis" for place in narrow]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(lines) + "\n")
    tables = labelled_tables(tmp_path, labels)
    assert tables["discs"]["true_osteochondrosis"].notna().sum() == 12 and len(tables["discs"]) == 12 * 7
    config = Config.load("smoke", **{"health.least_cases": 5, "health.trees": 10})
    said = train(tables, "labels", tmp_path / "call.json", config)
    assert said == ["osteochondrosis: 12 of 84 discs"]
    assert set(health.load(tmp_path / "call.json")[0]["discs"]) == {"osteochondrosis"}

    labels.write_text("scan,place,kind\nnobody,L1,fracture\n")
    with pytest.raises(ValueError, match=r"lists 'nobody', which has no .*; run spineseg measure"):
        labelled_tables(tmp_path, labels)
    labels.write_text("scan,place,kind\npatient1,L9,fracture\n")
    with pytest.raises(ValueError, match="got 'L9'"):
        labelled_tables(tmp_path, labels)
    labels.write_text("scan,level\npatient1,L1\n")
    with pytest.raises(ValueError, match="lacks place, kind"):
        labelled_tables(tmp_path, labels)


def test_verses_grades_are_learnt_and_what_was_not_graded_is_left_out(tmp_path):
    header = ["verse_ID", "subject_ID", "N_Fx", *(f"{v}_fx-g" for v in (*LEVELS, "L6"))]
    lines = [",".join(header)]
    for s in range(12):
        broken = LEVELS[s % 7 + 1]
        bone, gaps = (t.drop(columns=[c for c in t if c.startswith("true_")] + ["seed"]) for t in scan(s, [broken]))
        folder = tmp_path / (f"sub-verse{s:03d}" if s % 2 else f"verse{s:03d}")
        folder.mkdir()
        bone.to_csv(folder / "vertebrae.csv", index=False)
        gaps.to_csv(folder / "discs.csv", index=False)
        grades = ["", *("2" if v == broken else "0" for v in LEVELS[1:]), ""]
        lines.append(",".join([str(s), str(s), "1", *grades]))
    labels = tmp_path / "verse.csv"
    labels.write_text("\n".join([*lines, lines[-1].replace("11,11", "99,99", 1)]) + "\n")  # a scan not measured
    tables = labelled_tables(tmp_path, labels)
    assert len(tables["vertebrae"]) == 12 * 7 and LEVELS[0] not in set(tables["vertebrae"]["vertebra"])
    assert tables["vertebrae"]["true_fracture"].value_counts().to_dict() == {2.0: 12}
    config = Config.load("smoke", **{"health.least_cases": 5, "health.trees": 10})
    assert train(tables, "VerSe", tmp_path / "call.json", config) == ["fracture: 12 of 84 vertebrae"]

    labels.write_text("verse_ID,L1_fx-g\n99,1\n")
    with pytest.raises(ValueError, match="has no folder such as verse004"):
        labelled_tables(tmp_path, labels)
    labels.write_text("verse_ID,L1_fx-g\n99,7\n")
    with pytest.raises(ValueError, match=r"grade is 0, 1, 2 or 3, got 7 in L1_fx-g of verse099"):
        labelled_tables(tmp_path, labels)


def test_the_command_fits_and_refuses_half_of_a_pair(tmp_path, capsys):
    assert main(["health", str(tmp_path / "x.json"), "--labels", str(tmp_path / "l.csv")]) == 2
    assert "--labels and --measured go together" in capsys.readouterr().err
    assert main(["health", str(tmp_path / "x.json"), "--phantoms", "1", "--seed", "3"]) == 2
    assert "no kind has 15 cases" in capsys.readouterr().err and not (tmp_path / "x.json").exists()
