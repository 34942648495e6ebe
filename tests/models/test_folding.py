"""Norms are folded where data flows from a layer into a norm and nowhere else; the answers stay in any case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from each_case import each_case
from torch import Tensor, nn

from avadet.models.engines.folding import fold_norms


def test_a_folded_norm_is_arithmetic() -> None:
    # conv: 2 x + 1; norm: (v - 3) / sqrt(4) * 5 + 7  ->  5 x + 2
    net = nn.Sequential(nn.Conv1d(1, 1, 1), nn.BatchNorm1d(1, eps=0)).eval()
    with torch.no_grad():
        for tensor, value in (
            (net[0].weight, 2), (net[0].bias, 1), (net[1].running_mean, 3), (net[1].running_var, 4),
            (net[1].weight, 5), (net[1].bias, 7),
        ):  # fmt: skip
            tensor.fill_(value)
    assert fold_norms(net, torch.ones(1, 1, 1)) == (1, "")
    assert isinstance(net[1], nn.Identity)
    assert (net[0].weight.item(), net[0].bias.item()) == pytest.approx((5, 2))
    assert net(torch.tensor([[[10.0]]])).item() == pytest.approx(52)


class Net(nn.Module):
    """Parts in the order in which they are given, used as a function says."""

    def __init__(self, run: Callable[[Any, Tensor], Any], **parts: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


class Standardised(nn.Conv2d):
    """A convolution whose filters have mean 0, whatever its weights."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True), self.bias)


class Halved(nn.Module):
    """Half of a weight."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def conv(before: int = 4, after: int = 4, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1, **options)


def norm(**options: Any) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(4, **options)


def tied() -> nn.Module:
    """A second convolution has the weights of the first."""
    net = Net(lambda n, x: n.b(n.norm(n.a(x)).relu()), a=conv(), norm=norm(), b=conv())
    net.b.weight = net.a.weight
    return net


def named_twice() -> nn.Module:
    """One convolution under two names, called by the second."""
    one = conv()
    return Net(lambda n, x: n.norm(n.again(x)), conv=one, norm=norm(), again=one)


def parametrised() -> nn.Module:
    net = nn.Sequential(conv(), norm())
    nn.utils.parametrize.register_parametrization(net[0], "weight", Halved())
    return net


def hooked() -> nn.Module:
    net = nn.Sequential(conv(), norm())
    net[0].register_forward_hook(lambda module, inputs, output: output.relu())
    return net


CASES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "in a row": (
        lambda: nn.Sequential(conv(groups=2), norm(), nn.ReLU(True), conv(bias=False), norm(affine=False)),
        2,
    ),
    "declared apart": (lambda: Net(lambda n, x: n.norm(n.conv(x)), norm=norm(), other=nn.ReLU(), conv=conv()), 1),
    "two towers by one pair": (
        lambda: Net(lambda n, x: n.norm(n.conv(x)) * n.norm(n.conv(-x)), conv=conv(), norm=norm()),
        1,
    ),
    "tied weights": (tied, 1),
    "named twice": (named_twice, 1),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(4, 4, 2, 2), norm()), 1),
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(4 * 36, 7), nn.BatchNorm1d(7)), 1),
    # Named like an ordinary block: a follows its own norm, and feeds the norm of b.
    "norm before convolution": (
        lambda: Net(
            lambda n, x: n.b(n.norm_b(n.a(n.norm_a(x).relu())).relu()), a=conv(), norm_a=norm(), b=conv(), norm_b=norm()
        ),
        1,
    ),
    "norm before convolution, beside a shortcut": (
        lambda: Net(lambda n, x: x + n.conv(n.norm(x).relu()), conv=conv(), norm=norm()),
        0,
    ),
    "one convolution, two norms": (
        lambda: Net(lambda n, x: n.a(n.conv(x)) + n.b(n.conv(x)), conv=conv(), a=norm(), b=norm()),
        0,
    ),
    "two convolutions, one norm": (
        lambda: Net(lambda n, x: n.norm(n.a(x)) + n.norm(n.b(x)), a=conv(), b=conv(), norm=norm()),
        0,
    ),
    "a branch taps the convolution": (
        lambda: Net(lambda n, x: (lambda y: n.norm(y) + n.side(y))(n.conv(x)), conv=conv(), norm=norm(), side=conv()),
        0,
    ),
    "the convolution is an output too": (
        lambda: Net(lambda n, x: (lambda y: [n.norm(y), y])(n.conv(x)), conv=conv(), norm=norm()),
        0,
    ),
    "changed in place": (lambda: nn.Sequential(conv(), nn.ReLU(True), norm()), 0),
    "seen another way": (lambda: Net(lambda n, x: n.norm(n.conv(x).transpose(2, 3)), conv=conv(), norm=norm()), 0),
    "no running statistics": (lambda: nn.Sequential(conv(), norm(track_running_stats=False)), 0),
    "still in training": (lambda: nn.Sequential(conv(), norm(momentum=0.0)), 0),
    "transposed, of groups": (lambda: nn.Sequential(nn.ConvTranspose2d(4, 4, 2, 2, groups=2), norm()), 0),
    "a norm over another axis": (
        lambda: Net(lambda n, x: n.norm(n.fc(x.flatten(2))), fc=nn.Linear(36, 4), norm=nn.BatchNorm1d(4)),
        0,
    ),
    "filters that are computed": (lambda: nn.Sequential(Standardised(4, 4, 3), norm()), 0),
    "parametrised": (parametrised, 0),
    "hooked": (hooked, 0),
}


def filled(net: nn.Module) -> nn.Module:
    """The same net, its norms as training leaves them."""
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -1, 1)
            if module.running_mean is not None:
                nn.init.uniform_(module.running_mean, -1, 1)
                nn.init.uniform_(module.running_var, 0.3, 2)
    return net


@each_case("case", CASES)
def test_folded_or_not_the_answer_stays(case: str) -> None:
    build, expected = CASES[case]
    torch.manual_seed(0)
    net = filled(build().eval())
    if case == "still in training":
        net[1].train()
    probe, x = torch.randn(1, 4, 6, 6), torch.randn(3, 4, 6, 6)
    norms = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    with torch.no_grad():
        before = net(x)
        assert fold_norms(net, probe) == (expected, "")
        torch.testing.assert_close(net(x), before, atol=1e-5, rtol=1e-5)
    left = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) - len(left) == expected


def test_what_no_run_shows_is_found_by_its_answer() -> None:
    """A list that is no ModuleList keeps the old convolution, which the norm must go on to follow."""
    torch.manual_seed(0)
    net = Net(lambda n, x: n.norm(n.hidden[0](x)), conv=conv(), norm=norm())
    net.hidden = [net.conv]
    filled(net.eval())
    x = torch.randn(2, 4, 6, 6)
    with torch.no_grad():
        before = net(x)
        norms, note = fold_norms(net, x)
        assert torch.equal(net(x), before)
    assert norms == 0
    assert note.startswith("norms are not folded, which would change outputs by ")
    assert net.hidden == [net.conv]


def test_nothing_stays_hooked() -> None:
    net = nn.Sequential(conv(), norm(), nn.ReLU(), norm()).eval()
    fold_norms(net, torch.randn(1, 4, 6, 6))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
