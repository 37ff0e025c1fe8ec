import pytest
import torch

from spineseg.config import NetworkConfig
from spineseg.learning.vnet import ChannelPReLU, VNet, count_parameters, shapes

PAPER = NetworkConfig(kernel=5, norm="none")
CUDA = torch.cuda.is_available()
TINY = NetworkConfig(channels=(4, 8, 16), convolutions=(1, 2, 2), norm="group")


@pytest.mark.parametrize(("kernel", "outputs", "millions"), [(5, 2, 65.18), (5, 26, 65.18), (3, 26, 14.70)])
def test_parameter_count_is_the_published_one(kernel, outputs, millions):
    with torch.device("meta"):
        network = VNet(1, outputs, NetworkConfig(kernel=kernel, norm="none"))
    assert count_parameters(network) / 1e6 == pytest.approx(millions, abs=0.005)


def test_stages_have_the_papers_convolutions():
    with torch.device("meta"):
        network = VNet(1, 2, PAPER)
    assert [len(s.convolutions) for s in network.encoder] == [1, 2, 3, 3, 3]
    assert [len(s.convolutions) for s in network.decoder] == [3, 3, 2, 1]


@pytest.mark.parametrize("norm", ["none", "group", "instance"])
def test_logits_have_the_inputs_size(norm):
    network = VNet(5, 26, NetworkConfig(channels=(4, 8), convolutions=(1, 1), norm=norm))
    assert network(torch.randn(2, 5, 6, 8, 10)).shape == (2, 26, 6, 8, 10)


def test_a_zero_head_begins_as_nothing():
    network = VNet(1, 3, TINY, zero_head=True)
    assert network(torch.randn(1, 1, 8, 8, 8)).abs().max() == 0


def test_the_image_is_standardised_and_the_other_channels_are_not():
    torch.manual_seed(0)
    plain = VNet(2, 3, TINY)
    scaled = VNet(2, 3, TINY, standard=(0.3, 0.5))
    scaled.load_state_dict(plain.state_dict())
    x = torch.rand(1, 2, 8, 8, 8)
    by_hand = torch.cat(((x[:, :1] - 0.3) / 0.5, x[:, 1:]), 1)
    assert torch.allclose(scaled(x), plain(by_hand), atol=1e-6)


def test_the_faster_prelu_is_torchs_own_with_its_gradients():
    torch.manual_seed(0)
    ours, theirs = ChannelPReLU(4).double(), torch.nn.PReLU(4).double()
    torch.nn.init.uniform_(ours.weight, -0.5, 1.5)
    theirs.load_state_dict(ours.state_dict())
    results = []
    for module in (ours, theirs):
        x = torch.linspace(-2, 2, 2 * 4 * 3 * 3 * 3, dtype=torch.float64).view(2, 4, 3, 3, 3).requires_grad_()
        y = module(x)
        (y * x.detach().cos()).sum().backward()
        results.append((y, x.grad, module.weight.grad))
    assert all(torch.allclose(a, b) for a, b in zip(*results, strict=True))
    x = torch.randn(1, 4, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ours, (x,))


def test_a_size_that_does_not_divide_is_named():
    with pytest.raises(ValueError, match="divide by 4"):
        VNet(1, 3, TINY)(torch.zeros(1, 1, 8, 8, 9))


def test_the_stage_adds_its_input():
    from spineseg.learning.vnet import Stage

    stage = Stage(2, 4, 1, NetworkConfig(norm="none"))
    torch.nn.init.zeros_(stage.convolutions[0].weight)
    torch.nn.init.zeros_(stage.convolutions[0].bias)
    x = torch.rand(1, 2, 3, 3, 3)
    assert torch.equal(stage(x), torch.cat((x, x), 1))  # positive values pass the PReLU unchanged


def test_the_encoder_sees_the_published_receptive_field():
    with torch.device("meta"):
        network = VNet(1, 2, PAPER)
    seen, field, step = [], 1, 1
    for stage, down in zip(network.encoder, [*network.down, None], strict=True):
        field += step * sum(c.kernel_size[0] - 1 for c in stage.convolutions)
        seen.append(field)
        if down is not None:
            field += step * (down.convolution.kernel_size[0] - 1)
            step *= down.convolution.stride[0]
    assert seen == [5, 22, 72, 172, 372]


def test_shapes_follow_the_forward_pass():
    rows = shapes(TINY, 1, 26, (16, 8, 8))
    assert [r["stage"] for r in rows] == ["down 1", "down 2", "down 3", "up 2", "up 1", "head"]
    assert [r["channels"] for r in rows] == [4, 8, 16, 16, 8, 26]
    assert rows[2]["shape"] == (4, 2, 2) and rows[-1]["shape"] == (16, 8, 8)


@pytest.mark.parametrize(("kernel", "side"), [(3, 16), (5, 16), (5, 32), (5, 40)])
def test_bf16_gradients_agree_with_fp32_on_tiny_levels(kernel, side):
    torch.manual_seed(0)
    config = NetworkConfig(channels=(8, 16, 32, 64), convolutions=(1, 1, 2, 2), kernel=kernel)
    network = VNet(1, 26, config)
    gradients = []
    for bf16 in (False, True):
        network.zero_grad()
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            network(torch.randn(1, 1, side, side, side)).float().square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert torch.linalg.norm(gradients[1] - gradients[0]) < 0.1 * torch.linalg.norm(gradients[0])


@pytest.mark.parametrize("bf16", [False, True])
def test_computing_stages_again_changes_no_gradient_and_keeps_less(bf16):
    torch.manual_seed(0)
    network, x = VNet(1, 5, TINY), torch.randn(1, 1, 16, 16, 16)
    gradients, kept = [], []
    for network.recompute in (False, True):
        network.zero_grad()
        seen = {}

        def pack(t, seen=seen):
            seen[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), torch.autocast("cpu", enabled=bf16):
            loss = network(x).float().square().mean()
        kept.append(sum(seen.values()))
        loss.backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert kept[1] < 0.7 * kept[0]


@pytest.mark.gpu
@pytest.mark.skipif(not CUDA, reason="no GPU")
@pytest.mark.parametrize("config", [TINY, NetworkConfig(channels=(8, 16, 32), convolutions=(1, 2, 2))])
def test_a_gpu_finds_the_gradients_that_a_cpu_finds(config):
    torch.manual_seed(0)
    network, x = VNet(1, 5, config), torch.randn(2, 1, 64, 64, 64)  # large enough for group norm's own sums
    torch.nn.init.normal_(network.head.weight)  # zero at first, and with it all gradients below
    found = []
    for device in ("cpu", "cuda"):
        network.to(device).zero_grad()
        with torch.backends.cudnn.flags(allow_tf32=False):
            network(x.to(device)).square().mean().backward()
        found.append(torch.cat([p.grad.flatten().cpu() for p in network.parameters()]).double())
    assert torch.linalg.norm(found[0]) > 0
    assert torch.linalg.norm(found[1] - found[0]) < 1e-3 * torch.linalg.norm(found[0])


@pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not CUDA, reason="no GPU")])]
)
def test_autocast_turns_nothing_back_into_fp32(device):
    network = VNet(1, 5, TINY).to(device)
    seen = []
    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _m, _i, out: seen.append(out.dtype))
    with torch.autocast(device, dtype=torch.bfloat16):
        network(torch.randn(2, 1, 16, 16, 16, device=device))
    assert set(seen) == {torch.bfloat16}


def test_without_gradients_the_stages_add_in_place_to_the_same():
    torch.manual_seed(0)
    network, x = (
        VNet(3, 5, NetworkConfig(channels=(8, 16), convolutions=(1, 2), norm="group")),
        torch.randn(1, 3, 8, 8, 8),
    )
    before = x.clone()
    with torch.no_grad():
        plain = network(x)
    assert torch.equal(plain, network(x).detach()) and torch.equal(x, before)


def test_lower_heads_judge_the_decoder_and_leave_the_rest_as_it_is():
    config = NetworkConfig(channels=(4, 8, 16), convolutions=(1, 1, 1))
    torch.manual_seed(0)
    plain = VNet(1, 3, config)
    torch.manual_seed(0)
    deep = VNet(1, 3, config, lower=1)
    x = torch.randn(2, 1, 16, 16, 8)
    full, half = deep.at_scales(x)
    assert torch.equal(full, plain(x)) and torch.equal(deep(x), full)
    assert half.shape == (2, 3, 8, 8, 4) and not half.any()  # zero at first
    assert [y.shape for y in plain.at_scales(x)] == [full.shape]
