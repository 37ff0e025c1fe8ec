"""A small network that looks at crops of vertebrae: the way down of a V-Net, its last features averaged."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from spineseg.config import NetworkConfig, TrainingConfig
from spineseg.learning.vnet import VNet

NETWORK = NetworkConfig(channels=(8, 16, 32, 48), convolutions=(1, 1, 2, 2))
BATCH, LEARNING_RATE = 24, 3e-3


class CropNetwork(nn.Module):
    """Logits of kinds from a crop.

    Args:
        kinds: How many.
        config: Of the V-Net whose encoder is used.
    """

    def __init__(self, kinds: int, config: NetworkConfig = NETWORK):
        super().__init__()
        whole = VNet(2, kinds, config)
        self.encoder, self.down = whole.encoder, whole.down
        self.head = nn.Linear(2 * config.channels[-1], kinds)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 2, I, J, K)` to `(N, kinds)`."""
        x = self.encoder[0](x)
        for down, stage in zip(self.down, list(self.encoder)[1:], strict=True):
            x = stage(down(x))
        return self.head(torch.cat([x.mean((2, 3, 4)), x.amax((2, 3, 4))], 1))


def train_on(crops: np.ndarray, truth: np.ndarray, *, epochs: int, seed: int = 0) -> CropNetwork:
    """Train on crops, each shown as it is or mirrored, shifted by up to two points and with other HU.

    Args:
        crops: `(n, 2, *CROP)` float16.
        truth: `(n, kinds)`, 0 or 1; nan where a kind cannot be told.
        epochs: Passes over all crops.
        seed: Of weights, order and changes.

    Returns:
        The network, of the last epoch.
    """
    torch.manual_seed(seed)
    network, rng = CropNetwork(truth.shape[1]), np.random.default_rng(seed)
    share = np.nanmean(truth, axis=0)
    with torch.no_grad():
        network.head.bias.copy_(torch.from_numpy(np.log((share + 1e-3) / (1 - share + 1e-3))).float())
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=TrainingConfig.weight_decay)
    steps = epochs * -(-len(crops) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps)
    network.train()
    for _ in range(epochs):
        order = rng.permutation(len(crops))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            known = ~np.isnan(truth[chosen])
            loss = nn.functional.binary_cross_entropy_with_logits(
                network(_varied(crops[chosen], rng)), torch.from_numpy(np.nan_to_num(truth[chosen])).float(),
                weight=torch.from_numpy(known).float(),
            )  # fmt: skip
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


@torch.inference_mode()
def probabilities(network: CropNetwork, crops: np.ndarray) -> np.ndarray:
    """`(n, kinds)` of crops as they are."""
    parts = [network(torch.from_numpy(crops[i : i + BATCH].astype(np.float32))) for i in range(0, len(crops), BATCH)]
    return torch.cat(parts).sigmoid().numpy() if parts else np.zeros((0, network.head.out_features))


def _varied(crops, rng) -> Tensor:
    batch = torch.from_numpy(crops.astype(np.float32))
    if rng.random() < 0.5:
        batch = batch.flip(2)  # left and right
    batch = batch.roll(tuple(int(v) for v in rng.integers(-1, 2, 3)), (2, 3, 4))
    gain = torch.from_numpy(rng.uniform(0.9, 1.1, (len(batch), 1, 1, 1)).astype(np.float32))
    offset = torch.from_numpy(rng.uniform(-0.1, 0.1, (len(batch), 1, 1, 1)).astype(np.float32))
    batch[:, 0] = batch[:, 0] * gain + offset
    return batch
