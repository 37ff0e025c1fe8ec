"""Muon's step beside torch's own for matrices, and its parts that are AdamW."""

import pytest
import torch
from torch import nn

from spineseg.config import Config, NetworkConfig
from spineseg.learning.architectures import make_network
from spineseg.learning.muon import LIKE_ADAM, Muon, make_optimizer, orthogonal

RATE, DECAY = 3e-3, 1e-2


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3, 8, 40), (2, 40, 8), (1, 16, 16), (4, 1, 27)])
def test_orthogonal_keeps_singular_vectors_and_evens_out_singular_values(shape):
    x = draw(*shape)
    u, _, vt = torch.linalg.svd(x, full_matrices=False)
    inside = u.mT @ orthogonal(x) @ vt.mT
    values = inside.diagonal(dim1=1, dim2=2)
    assert ((values > 0.65) & (values < 1.25)).all()
    assert (inside - torch.diag_embed(values)).abs().max() < 1e-3


def test_orthogonal_lifts_what_three_thousandths_of_the_gradient_say():
    u, _, vt = torch.linalg.svd(draw(1, 6, 30), full_matrices=False)
    singular = torch.tensor([1.0, 0.5, 0.1, 0.02, 0.01, 0.003])
    out = u.mT @ orthogonal(u * singular @ vt) @ vt.mT
    assert (out.diagonal(dim1=1, dim2=2) > 0.6).all()


def test_orthogonal_of_nothing_is_nothing():
    assert torch.equal(orthogonal(torch.zeros(2, 4, 9)), torch.zeros(2, 4, 9))


@pytest.mark.parametrize(("rows", "columns"), [(8, 40), (40, 8)])
def test_a_matrix_moves_as_with_the_optimizer_of_torch(rows, columns):
    ours = nn.Linear(columns, rows, bias=False)
    theirs = nn.Parameter(ours.weight.detach().clone())
    first = Muon(ours, weight_decay=DECAY, lr=RATE)
    second = torch.optim.Muon([theirs], lr=RATE, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw")
    start = theirs.detach().clone()
    for i in range(5):
        ours.weight.grad = draw(rows, columns, seed=i)
        theirs.grad = ours.weight.grad.clone()
        first.step()
        second.step()
    moved = (theirs - start).norm()
    assert (ours.weight - theirs).norm() < 0.02 * moved  # torch iterates in bf16


def test_a_kernel_moves_as_the_matrix_of_its_outputs():
    kernel, matrix = nn.Conv3d(4, 6, 3, bias=False), nn.Linear(4 * 27, 6, bias=False)
    matrix.weight.data = kernel.weight.detach().flatten(1).clone()
    for layer in (kernel, matrix):
        layer.weight.grad = draw(6, 108).view_as(layer.weight)
        Muon(layer, weight_decay=DECAY, lr=RATE).step()
    assert torch.equal(kernel.weight.flatten(1), matrix.weight)


def test_root_mean_square_of_a_step_is_a_fifth_of_the_rate():
    layer = nn.Linear(64, 64, bias=False)
    before = layer.weight.detach().clone()
    layer.weight.grad = draw(64, 64)
    Muon(layer, weight_decay=0.0, lr=RATE).step()
    length = (layer.weight.detach() - before).square().mean().sqrt().item() / RATE
    assert length == pytest.approx(LIKE_ADAM, rel=0.2)


def test_biases_norms_and_slopes_move_as_with_adamw_and_no_kernel_does():
    config = NetworkConfig(channels=(4, 8), convolutions=(1, 1))
    networks = []
    for name in ("muon", "adamw"):
        torch.manual_seed(1)
        network = make_network(1, 3, config)
        optimizer = make_optimizer(name, network, DECAY)
        for group in optimizer.param_groups:
            group["lr"] = RATE
        for i in range(3):
            for j, p in enumerate(network.parameters()):
                p.grad = draw(*p.shape, seed=100 * i + j)
            optimizer.step()
        networks.append(dict(network.named_parameters()))
    kernels = {name for name, p in networks[0].items() if p.ndim > 1}
    assert len(kernels) > 5
    for name, value in networks[0].items():
        assert torch.equal(value, networks[1][name]) == (name not in kernels), name


def test_parameters_without_a_gradient_stay():
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    network[1].weight.grad = draw(2, 4)
    before = [p.detach().clone() for p in network.parameters()]
    Muon(network, weight_decay=DECAY, lr=RATE).step()
    same = [torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)]
    assert same == [True, True, False, True]


def test_only_a_bias_has_a_gradient():
    network = nn.Linear(3, 4)
    network.bias.grad = draw(4)
    before = network.weight.detach().clone(), network.bias.detach().clone()
    Muon(network, weight_decay=DECAY, lr=RATE).step()
    assert torch.equal(network.weight, before[0]) and not torch.equal(network.bias, before[1])


def test_a_transposed_kernel_is_a_matrix_of_its_inputs():
    layer = nn.ConvTranspose3d(3, 5, 2, stride=2, bias=False)
    before = layer.weight.detach().clone()
    layer.weight.grad = draw(*layer.weight.shape)
    Muon(layer, weight_decay=0.0, lr=RATE).step()
    values = torch.linalg.svdvals((layer.weight.detach() - before).reshape(3, 40)) / (RATE * LIKE_ADAM * 40**0.5)
    assert ((values > 0.65) & (values < 1.25)).all()


def test_rows_of_a_grouped_convolution_are_left_to_adamw():
    layer = nn.Conv3d(6, 6, 3, groups=6, bias=False)
    twin = nn.Parameter(layer.weight.detach().clone())
    layer.weight.grad = draw(*layer.weight.shape)
    twin.grad = layer.weight.grad.clone()
    Muon(layer, weight_decay=DECAY, lr=RATE).step()
    torch.optim.AdamW([twin], lr=RATE, weight_decay=DECAY, fused=True).step()
    assert torch.equal(layer.weight, twin)


@pytest.mark.parametrize("architecture", ["vnet", "hybrid", "swin"])
def test_every_parameter_is_in_one_group(architecture):
    channels = (12, 12, 24, 48, 96, 192) if architecture == "swin" else (4, 8)
    config = NetworkConfig(architecture=architecture, channels=channels, convolutions=(2,) * len(channels))
    network = make_network(1, 3, config)
    optimizer = Muon(network, weight_decay=DECAY)
    taken = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(taken) == sorted(id(p) for p in network.parameters())


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match="known: muon, adamw"):
        make_optimizer("sgd", nn.Linear(2, 2), 0.0)
    with pytest.raises(ValueError, match="training.optimizer.*one of muon, adamw"):
        Config.load(**{"training.optimizer": "sgd"})


def test_a_configuration_from_before_muon_is_read_as_adamw():
    values = Config.load("demo").to_dict()
    assert Config.from_dict(values).training.optimizer == "muon"
    del values["training"]["optimizer"]
    assert Config.from_dict(values).training.optimizer == "adamw"


def test_parameter_that_two_layers_share_is_moved_once():
    a, b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    b.weight = a.weight
    alone = nn.Linear(4, 4, bias=False)
    alone.weight.data = a.weight.detach().clone()
    for network in (nn.Sequential(a, b), alone):
        next(network.parameters()).grad = draw(4, 4)
        Muon(network, weight_decay=DECAY, lr=RATE).step()
    assert torch.equal(a.weight, alone.weight)
