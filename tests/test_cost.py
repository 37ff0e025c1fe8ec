import pytest
import torch
from networks import ALL
from networks import shape as shape_of

from spineseg.cli import main
from spineseg.config import Config, NetworkConfig
from spineseg.learning.architectures import make_network
from spineseg.learning.convolution import Conv3d
from spineseg.learning.cost import HALVED_COPIES, STATE_BYTES, forecast, network_cost, training_cost, ways_to_fit
from spineseg.learning.vnet import VNet, count_parameters

TINY = NetworkConfig(channels=(4, 8, 16), convolutions=(1, 2, 2), norm="group")


def on_meta(config=TINY, outputs=5):
    with torch.device("meta"):
        return VNet(1, outputs, config)


def really_kept(network, shape):
    """Bytes of what autograd keeps of a forward pass on the CPU, beside parameters."""
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    seen, held = {}, []

    def pack(t):
        seen[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        held.append(t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        network(torch.randn(shape[0], 1, *shape[1:]))
    return sum(size for key, size in seen.items() if key not in own)


@pytest.mark.parametrize("norm", ["none", "group"])
@pytest.mark.parametrize("shape", [(2, 16, 16, 16), (2, 8, 16, 24)])
def test_the_activations_are_those_that_autograd_keeps(norm, shape):
    config = NetworkConfig(channels=(4, 8, 16), convolutions=(1, 2, 2), norm=norm)
    cost = network_cost(on_meta(config), shape, bf16=False)
    assert cost.kept_bytes == pytest.approx(really_kept(VNet(1, 5, config), shape), rel=0.01)


@pytest.mark.parametrize("architecture", ALL)
def test_the_activations_of_every_network_are_those_that_autograd_keeps(architecture):
    with torch.device("meta"):
        network = make_network(1, 5, shape_of(architecture))
    shape = (2, *(network.multiple,) * 2, 2 * network.multiple)
    real = really_kept(make_network(1, 5, shape_of(architecture)), shape)
    assert network_cost(network, shape, bf16=False).kept_bytes == pytest.approx(real, rel=0.02)


@pytest.mark.parametrize("architecture", ALL)
def test_every_network_keeps_less_when_it_computes_again(architecture):
    with torch.device("meta"):
        network = make_network(1, 5, shape_of(architecture))
    shape = (1, *(2 * network.multiple,) * 3)
    plain, again = (network_cost(network, shape, bf16=False, recompute=r) for r in (False, True))
    assert again.kept_bytes < 0.9 * plain.kept_bytes and again.flops == plain.flops
    assert network.recompute is False  # as it was


@pytest.mark.parametrize("channels", [6, 2])
def test_halves_of_a_single_item_are_those_of_what_a_convolution_takes_and_gives(channels):
    with torch.device("meta"):
        network = Conv3d(6, channels, 3, padding=1)
    network.out_channels = 6  # of logits, for the loss
    shape, voxels = (1, 8, 8, 6), 8 * 8 * 6
    one, two = (network_cost(network, (n, *shape[1:]), bf16=False, device="cpu") for n in (1, 2))
    rest = one.parameters * STATE_BYTES + voxels * 6 * 4 * 2
    assert one.peak_bytes - one.kept_bytes - rest == HALVED_COPIES * 4 * voxels * (6 + channels)
    assert two.peak_bytes < 2 * one.peak_bytes - HALVED_COPIES * 4 * voxels  # two items are not halved


def test_a_layer_norm_keeps_fp32_where_a_gpus_autocast_does():
    class Tokens(torch.nn.Module):
        in_channels, out_channels = 4, 4

        def __init__(self):
            super().__init__()
            self.norm = torch.nn.LayerNorm(6)

        def forward(self, x):
            return self.norm(x)

    kept = {}
    for device in ("cpu", "cuda"):
        with torch.device("meta"):
            network = Tokens()
        kept[device] = network_cost(network, (1, 8, 8, 6), bf16=True, device=device).kept_bytes
    values, rows = 4 * 8 * 8 * 6, 4 * 8 * 8
    assert kept["cuda"] == 4 * (values + 2 * rows)  # its input as fp32; mean and deviation of each row
    assert kept["cpu"] == 2 * values + 4 * 2 * rows


def test_bf16_halves_the_activations_and_not_the_state():
    full, half = (network_cost(on_meta(), (1, 32, 32, 32), bf16=b) for b in (False, True))
    assert half.kept_bytes == pytest.approx(full.kept_bytes / 2, rel=0.01)
    assert half.peak_bytes > half.parameters * STATE_BYTES


def test_recomputing_keeps_less_and_the_arithmetic_is_that_of_one_pass():
    plain, again = (network_cost(on_meta(), (1, 32, 32, 32), bf16=False, recompute=r) for r in (False, True))
    assert again.kept_bytes < 0.7 * plain.kept_bytes and again.flops == plain.flops


def test_memory_grows_with_the_batch_and_the_patch():
    one, two, large = (
        network_cost(on_meta(), s, bf16=True) for s in ((1, 16, 16, 16), (2, 16, 16, 16), (1, 32, 32, 32))
    )
    assert two.kept_bytes == 2 * one.kept_bytes
    assert large.kept_bytes == pytest.approx(8 * one.kept_bytes, rel=1e-3)  # means and deviations do not grow


def test_the_papers_network_has_its_published_size_and_multiplications():
    config = NetworkConfig(kernel=3, norm="none")
    cost = network_cost(on_meta(config, 26), (1, 96, 96, 96), bf16=False)
    assert cost.parameters == count_parameters(on_meta(config, 26))
    assert cost.flops / 2e9 == pytest.approx(94, abs=1)  # by hand: kernel volume x channels in x out x voxels


def test_one_convolution_counts_as_by_hand():
    config = NetworkConfig(channels=(2, 4), convolutions=(1, 1), norm="none")
    cost = network_cost(on_meta(config, 3), (1, 4, 4, 4), bf16=False)
    full, half = 64, 8
    macs = full * (27 * 1 * 2 + 27 * 4 * 4 + 4 * 3)  # first stage, decoder stage, head
    macs += half * (8 * 2 * 4 + 27 * 4 * 4) + full * 4 * 2  # down, deepest stage; up has one tap a voxel
    assert cost.flops == 2 * macs


def test_what_does_not_fit_is_made_to_fit():
    config = Config.load("full", **{"fine.batch": 8})
    before = training_cost(config, "fine", bf16=False)
    room = 6.0
    assert before.peak_bytes / 1e9 > room
    ways = ways_to_fit(config, "fine", bf16=False, room_gb=room)
    assert ways and all(cost.peak_bytes / 1e9 <= room for _, cost in ways)
    text = forecast(config, ["fine"], room_gb=room)
    assert "does not fit into 6 GB" in text and ways[0][0] in text


def test_a_network_that_nothing_helps_is_said_so():
    assert "a smaller network" in forecast(Config.load("full"), ["baseline"], room_gb=1.0)


def test_the_option_prints_the_forecast_and_trains_nothing(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path))
    assert main(["train", "--profile", "smoke", "--run", "dry", "--dry-run", "--training.recompute"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("baseline", "coarse", "fine", "bf16")) and not list(tmp_path.iterdir())
