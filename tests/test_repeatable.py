import pytest
import torch

from spineseg.learning.repeatable import repeatable


@pytest.fixture
def threads():
    """Two threads, also where the machine would have one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def gradients_of_a_table(times: int) -> set[bytes]:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(2197, 3, generator=generator).requires_grad_()
    places = torch.randint(2197, (343**2,), generator=generator)
    weights = torch.randn(343**2, 3, generator=generator)
    found = set()
    for _ in range(times):
        table.grad = None
        (table[places] * weights).sum().backward()
        found.add(table.grad.numpy().tobytes())
    return found


def test_gradients_of_a_table_read_at_many_places_are_always_the_same(threads):
    with repeatable(torch.device("cpu")):
        assert len(gradients_of_a_table(40)) == 1  # without: 40 on an idle machine, 1 to 40 on a busy one


def test_a_training_step_asks_for_it_when_it_goes_back(tiny, monkeypatch):
    from spineseg.learning.module import NetworkTraining
    from spineseg.learning.training import train

    seen, backward = [], NetworkTraining.manual_backward

    def looked_at(self, loss):
        seen.append(torch.are_deterministic_algorithms_enabled())
        backward(self, loss)

    monkeypatch.setattr(NetworkTraining, "manual_backward", looked_at)
    train(tiny("repeatable"), "baseline")
    assert seen == [True] and not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("warned", [False, True])
def test_what_was_set_before_holds_again(warned):
    torch.use_deterministic_algorithms(True, warn_only=warned)
    try:
        with pytest.raises(RuntimeError, match="inside"), repeatable(torch.device("cpu")):
            assert torch.are_deterministic_algorithms_enabled()
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
            assert not torch.utils.deterministic.fill_uninitialized_memory
            raise RuntimeError("inside")
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled() is warned
        assert torch.utils.deterministic.fill_uninitialized_memory
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_gpu_is_left_as_it_is():
    with repeatable(torch.device("cuda")):
        assert not torch.are_deterministic_algorithms_enabled()
