import pytest
from test_budgets import answer, row  # noqa: F401 - the first is a fixture

from spineseg.report import budget_sentences, budgets
from spineseg.report.budgets import OURS


@pytest.fixture
def full(answer):  # noqa: F811
    """With every network and loss that the sentences name."""
    for name, offset in (
        ("3D U-Net", 0.5),
        ("3D ResU-Net", 0.53),
        ("Attention ResU-Net", 0.53),
        ("CNN + transformer", 0.4),
    ):
        answer["rows"] += [row("steps", name, seed, offset + 0.02 * seed) for seed in (0, 1, 2)]
    answer["settings"]["networks"] = {"U": {}, "3D U-Net": {}, "Swin UNETR": {}}
    shares = next(r for r in answer["rows"] if "mass" in r)
    answer["rows"].append({**row("loss", "logistic, weighted", 0, 0.1), **{k: shares[k] for k in ("mass", "voxels")}})
    return answer


def words(full):
    steps, time = (budgets.compared(budgets.scores(full, part), OURS) for part in ("steps", "time"))
    return budget_sentences.network_words(full, steps, time)


def test_a_network_is_better_only_beyond_what_another_seed_moves(full):
    found = words(full)
    assert found["seed_moves"] == pytest.approx(0.04)
    assert found["steps_better"] == "U"  # +0.1; the ResU-Nets' +0.03 are less than another seed moves
    assert (found["best"], found["lowest"], found["seeds_least"]) == ("U", "slow", 1)
    assert found["untrained"] == "Swin UNETR" and found["untimed"] == "3D U-Net, Swin UNETR"
    assert found["steps_worse"] == "slow, CNN + transformer" and found["time_better"] == "none"


def test_what_one_part_of_a_network_does_is_the_difference_of_a_pair(full):
    found = words(full)
    assert found["residual"] == pytest.approx(0.03) and found["gates_neck"] == pytest.approx(0)
    assert found["tokens"] == pytest.approx(-0.13)
    assert found["tokens_low"] == pytest.approx(-0.13) == found["tokens_high"]  # alike in every scan


def test_the_best_loss_is_named_with_its_share_of_the_gradient(full):
    losses = budgets.compared(budgets.scores(full, "loss"), "Dice")
    found = budget_sentences.loss_words(full, losses)
    assert (found["loss_best"], found["loss_worst"]) == ("Dice", "logistic, weighted")
    assert found["neck_voxels"] == 0.5 and found["neck_logistic"] == 1.0 and found["neck_best"] == 25.0
    assert found["neck_first"] == pytest.approx(1.0) and found["plain_dice"] < found["loss_best_dice"]


def test_what_stopping_cost_is_the_planned_longest_over_the_shortest(full):
    full["settings"]["fine.steps_per_epoch"] = 8
    planned = next(r for r in full["rows"] if r["name"] == "fine 100")["history"]
    planned["validation_loss"][-4:] = [0.45] * 4  # from epoch 85 on
    planned["dice_mean"][-1] = 0.7
    found = budget_sentences.length_words(full)
    assert found["fine_cost"] == pytest.approx(0.1)  # .6 over our V-Net's .5 of seed 0
    assert found["fine_falls"] == pytest.approx(0.1) and found["baseline_falls"] == 0
    assert (found["fine_end"], found["baseline_end"]) == ("still falls", "is flat")
    assert (found["fine_early"], found["fine_late"]) == (0.5, 0.7)
    assert found["fine_continued"] == pytest.approx(0.2) and found["fine_word"] == "lower than"
    assert found["baseline_word"] == "about the same as"
