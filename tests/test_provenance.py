import datetime
import json

from spineseg.config import Config
from spineseg.report.provenance import foot, headline, provenance_page

NOON = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
STEPS = [{"notebook": "03_training.ipynb", "sha256": "ab" * 32, "seconds": 61.5}]


def page(folder, run="demo", **values):
    parameters = {"03_training.ipynb": {"profile": "demo", "run": run, **values}}
    return provenance_page(Config.load("demo", run), parameters, STEPS, folder, NOON)


def test_run_without_headline_has_no_numbers(tmp_path):
    assert headline(tmp_path) == {}


def test_headline_is_read_from_the_run(tmp_path):
    (tmp_path / "headline.json").write_text('{"cascade_dice": 0.5}')
    assert headline(tmp_path) == {"cascade_dice": 0.5}


def test_page_holds_the_command_that_prints_it_again(tmp_path):
    assert "spineseg report --profile demo --run demo -p epochs '70'" in page(tmp_path, epochs=70)


def test_page_lists_every_value_of_the_configuration(tmp_path):
    text = page(tmp_path)
    assert f"| `training.ema_decay` | `{Config.load('demo').training.ema_decay}` |" in text
    assert "| `preparation.window_low_hu` | `-500.0` |" in text


def test_page_shows_what_the_run_recorded(tmp_path):
    (tmp_path / "provenance.json").write_text(json.dumps({"commit": "abc", "versions": {"torch": "2.13.0"}}))
    text = page(tmp_path)
    assert "| `commit` | `abc` |" in text and "| `versions.torch` | `2.13.0` |" in text


def test_recorded_text_cannot_act_as_markup(tmp_path):
    (tmp_path / "provenance.json").write_text(json.dumps({"machine": "a|b`<script>`\n# c"}))
    assert "| `machine` | `a¦b'<script>' # c` |" in page(tmp_path)


def test_the_foot_of_a_page_names_code_data_and_weights(tmp_path, monkeypatch):
    facts = {"commit": "0123456789abcdef", "dirty": True, "data_hash": "dada", "split_hash": "5911", "lock_hash": ""}
    (tmp_path / "provenance.json").write_text(json.dumps(facts))
    states = {"fine": {"sha256": "f" * 64}, "coarse": {"sha256": "c" * 64}}
    monkeypatch.setattr("spineseg.report.provenance.weights_of", lambda run: states if run == "demo" else {})
    text = foot(Config.load("demo"), tmp_path, NOON)
    for part in ("run demo", "code 0123456789 with changes", "data dada", "split 5911", "fine network ffffffffffff ·"):
        assert part in text
    assert "lock" not in text and "printed 2026-11-23 12:00 UTC" in text


def test_the_foot_of_a_run_without_record_still_says_which(tmp_path):
    assert "run a&amp;b · profile smoke · configuration" in foot(Config.load("smoke", "a&b"), tmp_path, NOON)
