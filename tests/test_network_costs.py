import json

import pytest

from spineseg import paths
from spineseg.learning.cost import GPU_CONTEXT_GB
from spineseg.report import network_costs


@pytest.fixture
def answer():
    forecast, largest, measured = [], [], []
    for number, name in enumerate([*network_costs.GUESSED_GB, "Attention ResU-Net"]):
        for side in (96, 128):
            for batch in (1, 2):
                for bf16 in (False, True):
                    for again in (False, True):
                        peak = (number + 1) * (side / 96) * batch * (1 if bf16 else 2) * (0.5 if again else 1)
                        forecast.append({
                            "network": name, "side": side, "batch": batch, "bf16": bf16, "recompute": again,
                            "parameters": 2_000_000, "tflop": 0.5, "kept_gb": 0.25, "peak_gb": peak,
                        })  # fmt: skip
        for card in (8, 12):
            for again in (False, True):
                side = 0 if number == 5 and not again else 32 * (card // 4) + 32 * again
                largest.append({"network": name, "card_gb": card, "recompute": again, "side": side})
        measured.append({
            "network": name, "side": 64, "batch": 1, "bf16": True, "recompute": False, "predicted_gb": 1.0,
            "measured_gb": 2.0 if number == 3 else 1.05,
        })  # fmt: skip
    return {"forecast": forecast, "largest": largest, "measured": measured, "trained": []}


def test_what_is_read_is_what_the_benchmark_wrote(answer, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "results_folder", lambda: tmp_path)
    (tmp_path / network_costs.FILE).write_text(json.dumps(answer))
    assert network_costs.load() == answer


def test_the_memory_of_a_gpu_holds_what_cuda_takes_and_stands_beside_the_guess(answer):
    table = network_costs.memory_table(answer)
    first = f"{1 + GPU_CONTEXT_GB:.1f} ({0.5 + GPU_CONTEXT_GB:.1f})"
    assert table.loc["V-Net, 3-cubed", ("96-cubed", "bf16, 1")] == first
    assert table.loc["Swin UNETR", ("guessed", "")] == "16 to 32"
    assert table.loc["Attention ResU-Net", ("guessed", "")] == "-"


def test_a_card_that_holds_no_patch_is_told(answer):
    table = network_costs.largest_table(answer)
    assert table.loc["CNN + transformer", "12 GB"] == "- (128)" and table.loc["3D U-Net", "8 GB"] == "64 (96)"


def test_sizes_are_those_of_one_small_patch(answer):
    assert network_costs.size_table(answer).loc["3D U-Net"].tolist() == [2.0, 0.5, 0.25]


def test_the_farthest_forecast_is_named_and_the_near_ones_are_counted(answer):
    gpu = {"machine": {"device": "a card"}, "steps": [{"predicted_gb": 1.0, "peak_gb": 0.5}, {"peak_gb": 3.0}]}
    words = network_costs.words(answer, gpu)
    assert (words["on_gpu"], words["gpu_steps"], words["gpu_low"]) == ("a card", 1, 2.0)
    assert words["steps_of"] == 7
    assert (words["steps"], words["ratio_within"], words["ratio_low"]) == (7, 6, 0.5)
    assert words["ratio_worst"] == "3D ResU-Net" and words["card_none"] == "CNN + transformer"
    assert words["usual_light"] == "V-Net, 3-cubed" and words["guessed"] == 6
    # two 128-cubed patches need 8/3 GB times 1 to 7, and 0.5; the guesses begin at 8, 8, 8, 12, 16, 16
    assert words["below"] == 4 and words["usual_high"] == pytest.approx(7 * 8 / 3 + GPU_CONTEXT_GB)


def test_measured_steps_are_shown_with_their_ratio(answer):
    table = network_costs.measured_table(network_costs.measured_rows(answer))
    assert table.loc["3D ResU-Net", "64-cubed, 1, bf16"] == "2.00 (0.50)"


def test_a_step_that_failed_is_left_out(answer):
    gone = answer["measured"][0].pop("network")
    del answer["measured"][0]["measured_gb"]
    answer["measured"][0] |= {"network": gone, "failed": "out of memory"}
    assert gone not in set(network_costs.measured_rows(answer)["network"])
