import builtins
import importlib.util
import json

import numpy as np
import pytest
import torch
from networks import ALL, PEERS, TINY, needs_monai, overrides, shape

from spineseg.cli import main
from spineseg.config import Config, NetworkConfig
from spineseg.data import nifti
from spineseg.learning.architectures import make_network
from spineseg.learning.inference import Predictor
from spineseg.learning.module import NetworkTraining
from spineseg.learning.schedule import MovingAverage
from spineseg.learning.training import load_network, train
from spineseg.learning.vnet import VNet, count_parameters


def patch_of(network, batch=2):
    side = 2 * network.multiple
    torch.manual_seed(1)
    return torch.randn(batch, network.in_channels, side, side, side)


@pytest.mark.parametrize("architecture", ALL)
def test_a_network_gives_logits_of_the_size_of_its_input(architecture):
    network = make_network(5, 4, shape(architecture))
    x = patch_of(network)[..., : network.multiple]
    assert network(x).shape == (2, 4, *x.shape[2:]) and len(network.at_scales(x)) == 1


@pytest.mark.parametrize("architecture", ALL)
def test_a_zero_head_begins_at_nothing_and_still_learns(architecture):
    network = make_network(5, 4, shape(architecture), zero_head=True)
    logits = network(patch_of(network))
    assert not logits.any()
    logits[:, 1].mean().backward()
    assert any(p.grad is not None and p.grad.any() for p in network.parameters())


@pytest.mark.parametrize("architecture", ALL)
def test_a_side_that_does_not_divide_is_named(architecture):
    network = make_network(1, 3, shape(architecture))
    n = network.multiple
    with pytest.raises(ValueError, match=f"must divide by {n}, got"):
        network(torch.zeros(1, 1, n, n, n + 1))


@pytest.mark.parametrize("architecture", ALL)
def test_recomputing_gives_the_same_gradients(architecture):
    torch.manual_seed(0)
    network = make_network(1, 3, shape(architecture))
    x, gradients = patch_of(network, 1), []
    for network.recompute in (False, True):
        network.zero_grad()
        network(x).square().mean().backward()
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("architecture", PEERS)
def test_the_image_is_seen_in_the_units_that_are_set(architecture):
    torch.manual_seed(0)
    plain = make_network(2, 3, shape(architecture)).eval()
    torch.manual_seed(0)
    scaled = make_network(2, 3, shape(architecture), standard=(0.3, 0.5)).eval()
    x = patch_of(plain, 1)
    assert torch.allclose(scaled(torch.cat((0.3 + 0.5 * x[:, :1], x[:, 1:]), 1)), plain(x), atol=1e-4)


@pytest.mark.parametrize("architecture", PEERS)
def test_the_moving_average_follows_values_and_keeps_tables(architecture):
    network = make_network(1, 3, shape(architecture))
    average = MovingAverage(network, 0.5)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(1.0)
    average.update(network)
    for name, t in network.state_dict().items():
        moved = average.weights[name]
        assert torch.equal(moved, t) if not t.is_floating_point() else (moved - t).abs().max() > 0.05
    assert any(not t.is_floating_point() for t in average.weights.values()) == (architecture == "swin")


def small_steps_of(network):
    """The largest weight gradient of a pass in bf16 over one in fp32."""
    x, sizes = patch_of(network, 1), []
    for enabled in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = network(x).float().square().mean()
        loss.backward()
        sizes.append(torch.stack([p.grad.norm() for p in network.parameters() if p.grad is not None]).max().item())
    return sizes[1] / sizes[0]


@pytest.mark.parametrize("architecture", PEERS)
def test_gradients_in_bf16_stay_those_of_fp32_on_the_smallest_grids(architecture):
    torch.manual_seed(0)
    wide = TINY[architecture]["channels"] if architecture == "swin" else (16, 32, 64)
    assert small_steps_of(make_network(1, 3, shape(architecture, channels=wide))) == pytest.approx(1, abs=0.2)


@needs_monai
@pytest.mark.parametrize(("feature", "millions"), [(48, 62.1), (24, 15.7), (12, 4.0)])
def test_a_swin_unetr_has_its_published_size(feature, millions):
    """Base, Small and Tiny for 1 input and 14 outputs; the table in SwinUNETR/BTCV/README.md of the repository
    Project-MONAI/research-contributions, which cuts off after one digit."""
    channels = tuple(feature * k for k in (1, 1, 2, 4, 8, 16))
    config = NetworkConfig(architecture="swin", norm="instance", channels=channels, convolutions=(2,) * 6)
    with torch.device("meta"):
        count = count_parameters(make_network(1, 14, config))
    assert millions - 0.05 <= count / 1e6 < millions + 0.1
    assert feature != 48 or round(count / 1e6, 2) == 62.19


@needs_monai
@pytest.mark.parametrize("architecture", ["unet", "resunet"])
def test_a_u_net_is_the_librarys_own(architecture):
    from monai.networks.nets import DynUNet

    torch.manual_seed(0)
    widths = (4, 8, 16)
    ours = make_network(1, 3, shape(architecture, norm="instance"))
    theirs = DynUNet(
        3, 1, 3, kernel_size=[3] * 3, strides=[1, 2, 2], upsample_kernel_size=[2, 2], filters=widths,
        res_block=architecture == "resunet", norm_name=("instance", {"affine": True}),
    )  # fmt: skip
    assert count_parameters(ours) == count_parameters(theirs)
    parts = {"encoder.0": theirs.input_block, "encoder.1": theirs.downsamples[0], "encoder.2": theirs.bottleneck}
    parts |= {f"decoder.{i}": block for i, block in enumerate(theirs.upsamples)} | {"head": theirs.output_block}
    for name, part in parts.items():
        ours.body.get_submodule(name).load_state_dict(part.state_dict())
    x = patch_of(ours)
    assert torch.allclose(ours(x), theirs(x), atol=1e-5)


@needs_monai
def test_a_residual_u_net_costs_the_short_cuts_of_its_encoder():
    plain, residual = (count_parameters(make_network(1, 3, shape(name))) for name in ("unet", "resunet"))
    cuts = sum(a * b + 2 * b for a, b in ((1, 4), (4, 8), (8, 16)))  # 1-cubed kernels and their norms
    assert residual - plain == cuts


@needs_monai
def test_a_closed_gate_lets_nothing_across():
    network = make_network(1, 3, shape("attention")).eval()
    x = patch_of(network, 1)
    open_ = network(x)
    for gate in network.body.gates:
        gate.psi[2] = torch.nn.Threshold(torch.inf, 0.0)  # in place of the sigmoid: 0 everywhere
    closed = network(x)
    with torch.no_grad():
        network.body.encoder[0].norm2.weight.mul_(7.0)  # of what only the widest gate sees once it is halved ...
    assert not torch.equal(open_, closed) and not torch.equal(network(x), closed)  # ... and the way down
    skips = []
    network.body.gates[-1].register_forward_hook(lambda *call: skips.append(call[2]))
    network(x)
    assert not skips[0].any()


@needs_monai
def test_tokens_see_the_whole_deepest_grid():
    from spineseg.learning.ushaped import Tokens

    torch.manual_seed(0)
    tokens = Tokens(16, 1).eval()
    x = torch.zeros(1, 16, 5, 4, 6)
    x[0, :, 0, 0, 0] = torch.randn(16)
    y = torch.zeros_like(x)
    assert ((tokens(x) - tokens(y)).abs().amax(1) > 0).all()  # every voxel, however far


@pytest.mark.parametrize("architecture", PEERS)
@pytest.mark.parametrize("stage", ["baseline", "fine"])
def test_each_trains_goes_on_as_if_undisturbed_and_predicts_a_whole_scan(architecture, stage, tiny, home, monkeypatch):
    method = "baseline" if stage == "baseline" else "cascade"
    side = 32 if architecture == "swin" else 16
    values = {f"{stage}.patch": (side,) * 3, "inference.patch": (side,) * 3, **overrides(stage, architecture)}
    config = tiny(f"{architecture}-{stage}", 2, **values)
    train(config, method)
    finished = NetworkTraining.on_train_epoch_end

    def die_after_one(self):
        finished(self)
        if self.name == stage and self.done_epochs == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(NetworkTraining, "on_train_epoch_end", die_after_one)
    cut = tiny(f"{architecture}-{stage}-cut", 2, **values)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(cut, method)
    monkeypatch.undo()
    train(cut, method)
    one, two = (load_network(c, stage, "last")[0].state_dict() for c in (config, cut))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert "monai" in json.loads((home / "runs" / config.run / "provenance.json").read_text())["versions"]
    ct = np.full((19, 23, 41), 40, np.int16)  # no side divides
    prediction = Predictor.of_run(config, method)(nifti.Volume(ct, np.diag([6.0, 6.0, 6.0, 1.0]), ()))
    assert prediction.labels.shape == ct.shape


def test_a_v_net_needs_no_other_library(monkeypatch):
    imported = builtins.__import__

    def without(name, *rest):
        assert name.split(".")[0] not in ("monai", "einops"), name
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert isinstance(make_network(1, 3, shape("vnet")), VNet)


@pytest.mark.parametrize("package", ["monai", "einops"])
def test_a_missing_extra_is_one_line_with_the_command(package, monkeypatch, capsys, home):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name) or name)
    options = [f"--fine.network.{k}" for k in ("architecture", "convolutions")]
    words = ["train", "--profile", "smoke", "--run", "gone", "--dry-run", options[0], "unet", options[1], "2", "2", "2"]
    assert main(words) != 0
    said = capsys.readouterr().err.strip()
    assert said == (
        f"spineseg train: architecture 'unet' needs {package}, which is not installed: "
        "python -m pip install -e '.[architectures]'"
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"architecture": "transunet"}, "architecture' must be one of vnet, unet"),
        ({"architecture": "unet"}, "convolutions' must be 2 at each level for unet"),
        ({"architecture": "swin", "convolutions": (2,) * 3}, "channels' must be 12 times 1, 1, 2, 4, 8, 16"),
        ({"architecture": "swin", **TINY["swin"], "kernel": 5}, "kernel' must be 3 for swin"),
        ({"architecture": "hybrid", "convolutions": (2, 1, 4)}, "convolutions' must be 2 at each level for hybrid"),
    ],
)
def test_a_shape_that_an_architecture_does_not_come_in_is_refused(values, message):
    given = {f"fine.network.{k}": v for k, v in values.items()}
    with pytest.raises(ValueError, match=f"'fine.network.{message}"):
        Config.load("smoke", **given, **{"fine.patch": (32,) * 3, "inference.patch": (32,) * 3})
