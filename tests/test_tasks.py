import dataclasses

import numpy as np
import torch

from spineseg.config import Config
from spineseg.learning.cascade import build, fine_logits, phases
from spineseg.learning.losses import loss_by_name
from spineseg.learning.tasks import Outlining, majority

CONFIG = Config.load("smoke")


def batch():
    rng = np.random.default_rng(0)
    image = torch.rand(2, 1, 16, 16, 16)
    labels = torch.from_numpy(rng.integers(0, 26, (2, 16, 16, 16)).astype(np.uint8))
    scan = {"coarse": [torch.rand(1, 16, 16, 16)] * 2, "to_coarse": [np.eye(4)] * 2}
    scan |= {"whole": [True] * 2, "found": [None] * 2}
    return {"case": ["a", "b"], "image": image, "labels": labels, **scan}


def task(deep):
    config = dataclasses.replace(CONFIG, fine=dataclasses.replace(CONFIG.fine, deep_supervision=deep))
    torch.manual_seed(0)
    return Outlining(config, build(config, "coarse")), build(config, "fine")


def test_without_deep_supervision_the_loss_is_that_of_the_logits():
    (outlining, network), items = task(0), batch()
    logits = fine_logits(network, items["image"], outlining.guide(items))
    plain = loss_by_name(CONFIG.fine.loss, naming=CONFIG.fine.naming_weight)
    assert torch.allclose(outlining.loss(network, items), plain(logits, phases(items["labels"])))


def test_lower_levels_are_judged_by_the_phase_that_fills_most_of_a_block():
    outlining, network = task(1)
    outlining.loss(network, batch()).backward()
    assert all(head.weight.grad.abs().sum() > 0 for head in network.lower_heads)
    labels = torch.zeros(1, 2, 2, 4, dtype=torch.long)
    labels[0, :, :, 2:] = 3
    labels[0, 0, 0, 2] = 1
    assert majority(labels, 2)[0, 0, 0].tolist() == [0, 3]


def test_equal_losses_at_all_levels_are_one_loss():
    outlining, network = task(1)
    outlining._loss = lambda logits, target: logits.sum() * 0 + 2.0
    assert outlining.loss(network, batch()) == 2.0
