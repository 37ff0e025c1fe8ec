import numpy as np
import torch
from test_discs import pair
from test_morphometry import grid

from spineseg.learning.crop_network import CropNetwork, probabilities, train_on
from spineseg.learning.vertebra_crops import CROP, CROP_STEP_MM, UNIT_HU, crop_of


def test_a_crop_is_upright_and_centred_whatever_the_pose():
    upper, _ = pair(8.0)
    affine, shape = grid((1.5, 1.5, 1.5), (110, 140, 170))
    labels = np.full(shape, upper.level, np.uint8)
    world = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1) @ affine[:3, :3].T + affine[:3, 3]
    height = ((world - upper.middle) @ upper.frame)[..., 2]
    crop = crop_of(upper, 100.0 + UNIT_HU * height / 50.0, labels, affine)
    assert crop.shape == (2, *CROP) and crop.dtype == np.float16
    inside = crop[1] > 0.99
    expected = np.broadcast_to((np.arange(CROP[2]) - (CROP[2] - 1) / 2) * CROP_STEP_MM / 50.0, CROP)
    np.testing.assert_allclose(crop[0][inside], expected[inside], atol=0.01)


def bright(n, seed):
    """Crops of noise, every third with a bright spot in the middle."""
    rng = np.random.default_rng(seed)
    crops = rng.normal(0, 0.3, (n, 2, 16, 16, 16)).astype(np.float16)
    truth = (np.arange(n) % 3 == 0).astype(float)[:, None]
    crops[truth[:, 0] > 0, 0, 6:10, 6:10, 6:10] += 2.0
    return crops, truth


def test_a_spot_is_learnt_and_the_same_seed_gives_the_same_network():
    crops, truth = bright(48, 0)
    network = train_on(crops, truth, epochs=6)
    fresh, known = bright(30, 1)
    p = probabilities(network, fresh)[:, 0]
    assert p[known[:, 0] > 0].min() > p[known[:, 0] == 0].max()
    again = train_on(crops, truth, epochs=6)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


def test_what_is_unknown_teaches_nothing():
    crops, truth = bright(24, 0)
    both = np.concatenate([truth, np.full_like(truth, np.nan)], 1)
    both[0, 1] = 1.0
    assert np.isfinite(probabilities(train_on(crops, both, epochs=1), crops)).all()


def test_the_encoder_is_that_of_the_v_net():
    from spineseg.learning.crop_network import NETWORK
    from spineseg.learning.vnet import VNet

    own, whole = CropNetwork(9), VNet(2, 9, NETWORK)
    assert [p.shape for p in own.encoder.parameters()] == [p.shape for p in whole.encoder.parameters()]
    assert own(torch.zeros(1, 2, *CROP)).shape == (1, 9)
    assert probabilities(own, np.zeros((0, 2, *CROP), np.float16)).shape == (0, 9)
