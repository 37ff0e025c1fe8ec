import pytest
import torch
import torch.nn.functional as F

from spineseg.learning.norm import GroupNorm, _Spread


def both(dtype, offset):
    torch.manual_seed(0)
    x = (torch.randn(2, 16, 6, 7, 8) * 3 + offset).to(dtype)
    weight, bias, upstream = torch.randn(16).to(dtype), torch.randn(16).to(dtype), torch.randn(2, 16, 6, 7, 8).to(dtype)
    found = []
    for function in (_Spread.apply, F.group_norm):
        leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
        groups = (*leaves, 8, 1e-5) if function is not F.group_norm else (leaves[0], 8, *leaves[1:], 1e-5)
        y = function(*groups)
        y.backward(upstream)
        found.append([y.detach(), *(leaf.grad for leaf in leaves)])
    return zip(*found, strict=True)


@pytest.mark.parametrize("offset", [0.0, 20.0])
@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
def test_values_and_gradients_are_those_of_torch(dtype, apart, offset):
    for ours, theirs in both(dtype, offset):
        assert ours.dtype == theirs.dtype == dtype
        scale = theirs.float().square().mean().sqrt()
        assert (ours.float() - theirs.float()).abs().max() < apart * scale


def test_the_module_is_torchs_own_on_a_cpu():
    x = torch.randn(1, 16, 4, 4, 4)
    ours, theirs = GroupNorm(8, 16), torch.nn.GroupNorm(8, 16)
    theirs.load_state_dict(ours.state_dict())
    assert torch.equal(ours(x), theirs(x))
