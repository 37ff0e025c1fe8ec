import dataclasses
import json

import pytest

from spineseg.config import PROFILES, Config


def leaves(values, prefix=""):
    """Dotted names and values of a nested dict."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def default(name):
    node = Config()
    for part in name.split("."):
        node = getattr(node, part)
    return node


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_loads_and_names_its_run_after_itself(profile):
    config = Config.load(profile)
    assert (config.profile, config.run) == (profile, profile)
    assert Config.load(profile, run="mine").run == "mine"


@pytest.mark.parametrize(("profile", "name"), [(p, n) for p, changes in PROFILES.items() for n in changes])
def test_a_profile_holds_only_differences(profile, name):
    assert PROFILES[profile][name] != default(name)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_changes_what_it_names_and_nothing_else(profile):
    ours, theirs = dict(leaves(Config.load(profile).to_dict())), dict(leaves(Config().to_dict()))
    changed = {n for n in ours if ours[n] != theirs[n]} - {"profile", "run"}
    assert changed == set(PROFILES[profile])


def test_an_unknown_profile_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown profile 'demi'; known: smoke, demo, boxed, full"):
        Config.load("demi")


def test_a_mistyped_name_lists_the_known_ones_and_suggests_the_nearest():
    with pytest.raises(
        ValueError, match="unknown parameter 'trainign.epochs': did you mean 'training'.*known here: .*coarse"
    ):
        Config.load(**{"trainign.epochs": 3})
    with pytest.raises(ValueError, match="did you mean 'epochs'.*known here: epochs, optimizer, weight_decay"):
        Config.load(**{"training.epoch": 3})


def test_a_name_below_a_value_is_refused():
    with pytest.raises(ValueError, match="'epochs' is a value and has no 'x'"):
        Config.load(**{"training.epochs.x": 3})


def test_a_group_cannot_be_replaced_by_a_value():
    with pytest.raises(ValueError, match="'training' is a group; name one of training.epochs"):
        Config.load(**{"training": 3})


def test_overrides_win_over_the_profile_and_epochs_is_a_shorthand():
    config = Config.load("smoke", epochs=7, **{"cohort.train": 5, "coarse.network.kernel": 5})
    assert (config.training.epochs, config.cohort.train, config.coarse.network.kernel) == (7, 5, 5)
    assert config.fine.network.kernel == 3


def test_a_whole_number_becomes_a_float_and_a_list_a_tuple():
    config = Config.load(**{"preparation.spacing_mm": 4, "fine.patch": [32, 64, 32]})
    assert isinstance(config.preparation.spacing_mm, float) and config.fine.patch == (32, 64, 32)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("training.epochs", 2.5, "must be int"),
        ("training.epochs", "7", "must be int"),
        ("training.epochs", True, "must be int"),
        ("training.noise", "much", "must be float"),
        ("training.noise", True, "must be float"),
        ("fine.network.residual", 1, "must be bool"),
        ("cohort.layout", 3, "must be str"),
        ("fine.patch", 64, "must be a list of whole numbers"),
        ("fine.patch", [1.5, 2, 2], "must be a list of whole numbers"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(name, value, expected):
    with pytest.raises(ValueError, match=f"'{name}' {expected}"):
        Config.load(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("training.epochs", 0),
        ("training.precision", "fp8"),
        ("cohort.layout", "bids"),
        ("cohort.spacing_mm", 0),
        ("cohort.bone_only_share", 1.5),
        ("preparation.spacing_mm", 31),
        ("preparation.coarse_spacing_mm", -9),
        ("preparation.window_low_hu", 2000),
        ("inference.overlap_share", 1),
        ("fine.network.kernel", 4),
        ("fine.network.norm", "batch"),
        ("fine.network.convolutions", [1, 2]),
        ("fine.loss", "hinge"),
        ("fine.patch", [33, 32, 32]),
        ("fine.batch", 0),
        ("fine.others_share", 0.99),
        ("fine.second_look_share", 1.5),
        ("coarse.second_look_share", 0.5),
        ("fine.phantom_uses", -1),
        ("guidance.limit", 0),
        ("order.missed_chance", 0),
        ("order.spacing_spread", -1),
        ("inference.naming", "guess"),
        ("training.start", "elsewhere"),
        ("cohort.spread", 4),
    ],
)
def test_an_impossible_value_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"'{name}' must be"):
        Config.load(**{name: value})


def test_phantoms_without_end_are_for_the_phantom_layout_alone():
    with pytest.raises(ValueError, match="'coarse.phantom_uses' must be 0 or more, and 0 unless the layout is phantom"):
        Config.load("full", **{"coarse.phantom_uses": 2})


def test_the_configuration_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().training.epochs = 3


def test_plain_values_survive_json():
    values = Config.load("demo").to_dict()
    again = json.loads(json.dumps(values))
    assert again["training"]["epochs"] == values["training"]["epochs"]
    assert again["fine"]["patch"] == list(values["fine"]["patch"])


def test_the_hash_follows_the_sections_that_are_named():
    a, b = Config.load(**{"training.seed": 1}), Config.load(**{"training.seed": 2})
    assert a.hash() != b.hash() and a.hash("training") != b.hash("training")
    assert a.hash("preparation", "cohort") == b.hash("preparation", "cohort")
    assert a.hash() == Config.load(**{"training.seed": 1}).hash()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_configuration_comes_back_from_json_as_it_was(profile):
    config = Config.load(profile)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_configuration_of_a_newer_version_names_what_is_unknown():
    values = Config().to_dict()
    values["training"]["momentum"] = 0.9
    with pytest.raises(ValueError, match="another version: training.momentum unknown here"):
        Config.from_dict(values)


def test_what_an_older_version_did_not_have_takes_its_default():
    values = Config.load("demo", **{"training.seed": 3}).to_dict()
    del values["training"]["patience"], values["coarse"]["network"]["kernel"], values["guidance"]
    assert Config.from_dict(values) == Config.load("demo", **{"training.seed": 3})
