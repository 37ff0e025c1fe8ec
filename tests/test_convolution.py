import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from spineseg.learning.convolution import Conv3d, ConvTranspose3d

CASES = [
    (Conv3d, nn.Conv3d, dict(kernel_size=3, padding=1), (8, 6, 10)),
    (Conv3d, nn.Conv3d, dict(kernel_size=5, padding=2), (8, 6, 10)),
    (Conv3d, nn.Conv3d, dict(kernel_size=5, padding=2), (2, 2, 2)),
    (Conv3d, nn.Conv3d, dict(kernel_size=3, padding=1), (3, 5, 4)),
    (Conv3d, nn.Conv3d, dict(kernel_size=3, padding=1), (3, 5, 1)),
    (Conv3d, nn.Conv3d, dict(kernel_size=1), (7, 6, 5)),
    (Conv3d, nn.Conv3d, dict(kernel_size=2, stride=2), (6, 4, 10)),
    (Conv3d, nn.Conv3d, dict(kernel_size=2, stride=2), (6, 2, 10)),
    (ConvTranspose3d, nn.ConvTranspose3d, dict(kernel_size=2, stride=2), (3, 4, 5)),
    (ConvTranspose3d, nn.ConvTranspose3d, dict(kernel_size=2, stride=2), (3, 1, 5)),
]


@pytest.mark.parametrize("items", [1, 2])
@pytest.mark.parametrize("own, plain, options, sides", CASES)
def test_values_and_gradients_are_those_of_torch(own, plain, options, sides, items):
    torch.manual_seed(0)
    mine, theirs = own(3, 4, **options), plain(3, 4, **options)
    theirs.load_state_dict(mine.state_dict())
    results = []
    for layer in (mine, theirs):
        x = torch.randn(items, 3, *sides, generator=torch.Generator().manual_seed(1)).requires_grad_()
        y = layer(x)
        weights = torch.linspace(-1, 1, y.numel()).view(y.shape)
        (y * weights).sum().backward()
        results.append((y, x.grad, layer.weight.grad, layer.bias.grad))
    for a, b in zip(*results, strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs oneDNN")
def test_a_single_item_reaches_onednn_both_ways():
    seen = []

    class Spy(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if "convolution" in str(function):
                seen.append((str(function), args[0].shape))
            return function(*args, **(kwargs or {}))

    with Spy():
        x = torch.zeros(1, 3, 8, 6, 10, requires_grad=True)
        Conv3d(3, 4, 3, padding=1)(x).sum().backward()
    there, back, weights = seen
    assert there == ("aten.mkldnn_convolution.default", (1, 3, 8, 6, 10))
    assert back == ("aten.mkldnn_convolution.default", (1, 4, 8, 6, 10))
    assert weights == ("aten.convolution_backward.default", (2, 4, 4, 6, 10))


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs oneDNN")
def test_kernels_of_more_shapes_are_kept_than_onednn_keeps_by_itself():
    code = """if 1:
        import torch
        import spineseg.learning.convolution
        torch.set_num_threads(1)
        for n in [*range(4, 1104), *range(4, 104)]:
            torch.nn.functional.conv3d(torch.zeros(2, 2, 1, 1, n), torch.zeros(2, 2, 1, 1, 3))
    """
    told = {name: value for name, value in os.environ.items() if name != "ONEDNN_PRIMITIVE_CACHE_CAPACITY"}
    out = subprocess.run(
        [sys.executable, "-c", code], env=told | {"ONEDNN_VERBOSE": "2"}, capture_output=True, text=True, check=True
    ).stdout
    created = [line for line in out.splitlines() if ",create:cache_" in line and ",convolution," in line]
    assert sum("cache_miss" in line for line in created) == 1100
    assert sum("cache_hit" in line for line in created) == 100
