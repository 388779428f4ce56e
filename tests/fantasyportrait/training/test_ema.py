import torch

from fantasyportrait.training.ema import ExponentialAverage


def test_the_average_follows_its_definition():
    module = torch.nn.Linear(3, 2)
    module.bias.requires_grad_(False)
    average = ExponentialAverage(module, 0.9)
    expected = module.weight.detach().double()
    for n in range(1, 200):
        torch.nn.init.normal_(module.weight)
        average.update(module)
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * module.weight.detach().double()
    assert set(average.values) == {"weight"}
    torch.testing.assert_close(average.values["weight"].double(), expected, atol=1e-6, rtol=1e-6)


def test_the_average_replaces_the_parameters_for_a_block():
    module = torch.nn.Linear(3, 2)
    average = ExponentialAverage(module, 0.9)
    started = module.weight.detach().clone()
    torch.nn.init.normal_(module.weight)
    trained = module.weight.detach().clone()
    with average.swapped_in(module):
        assert torch.equal(module.weight, started)
    assert torch.equal(module.weight, trained)
