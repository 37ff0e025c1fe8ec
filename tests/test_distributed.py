"""Two processes that train together do what one does with the whole batch."""

import os

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from spineseg.learning.losses import loss_by_name

LOSSES = ("dice", "dice_ce", "dice_ce_binary")


def batch():
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(4, 1, 6, 5, 4, generator=generator)
    labels = torch.randint(0, 5, (4, 6, 5, 4), generator=generator)
    labels[:2][labels[:2] == 4] = 0  # a class that only one of the processes sees
    return image, labels


def gradients(wrap, image, labels, name):
    torch.manual_seed(1)
    network = wrap(nn.Conv3d(1, 5, 3, padding=1))
    loss = loss_by_name(name, naming=0.3)(network(image), labels)
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in network.parameters()]


def one_of_two(rank, folder):
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    image, labels = batch()
    mine = slice(2 * rank, 2 * rank + 2)
    found = {name: gradients(DistributedDataParallel, image[mine], labels[mine], name) for name in LOSSES}
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """Losses and gradients of two processes, by rank."""
    folder = tmp_path_factory.mktemp("two")
    multiprocessing.spawn(one_of_two, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradients_of_two_processes_are_those_of_one(apart, name):
    loss, expected = gradients(lambda network: network, *batch(), name)
    for found in apart:
        other, grads = found[name]
        assert torch.allclose(other, loss, atol=1e-6)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(grads, expected, strict=True))
