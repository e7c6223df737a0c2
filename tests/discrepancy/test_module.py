"""The discrepancy as a module: values in closed form, gradients, and an adversary that keeps to itself."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ncfm import CharacteristicDiscrepancy, NcfmError
from ncfm.discrepancy import ncfd
from ncfm.discrepancy.frequencies import (
    DirectFrequencies,
    GaussianFrequencies,
    ScaleMixtureFrequencies,
    StudentTFrequencies,
)
from ncfm.discrepancy.halves import criterion_by_halves
from strategies import normal, rng

D = 3
FAMILIES = ("gaussian", "student", "mixture", "direct")
LEARNED = ("mixture", "direct")
every_family = pytest.mark.parametrize("family", FAMILIES)
every_learned = pytest.mark.parametrize("family", LEARNED)


def pair(seed=0, n=40, m=30, shift=0.7):
    return normal(seed, n, D).float(), shift + 1.5 * normal(seed + 1, m, D).float()


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("alpha", "variance", "shift"), [(0.5, 1.0, 1.0), (0.0, 1.0, 0.5), (1.0, 4.0, 0.0), (0.3, 2.0, 1.0)]
)
def test_gaussians_have_the_value_of_their_characteristic_functions(alpha, variance, shift):
    # Phi of N(a, s^2) is exp(j t a - s^2 t^2 / 2): the two terms of the discrepancy in closed form at every t.
    t = torch.linspace(0.2, 1.6, 8, dtype=torch.float64)[:, None]
    x, y = normal(0, 40_000, 1), shift + math.sqrt(variance) * normal(1, 40_000, 1)
    of_x, of_y = (torch.exp(-v * t[:, 0] ** 2 / 2) for v in (1.0, variance))
    amplitude, phase = (of_x - of_y) ** 2, 2 * of_x * of_y * (1 - torch.cos(t[:, 0] * shift))
    exact = (alpha * amplitude + (1 - alpha) * phase).sqrt().mean()
    value = CharacteristicDiscrepancy(1, t, amplitude_weight=alpha)(x, y)
    # Each Phi has an error of about 1 / sqrt(n) = 0.005; three of them on each side bound the root at 0.03.
    assert float(value) == pytest.approx(float(exact), abs=0.01)
    assert float(exact) > 0.15


@every_family
def test_it_is_the_formula_at_the_frequencies_it_drew(family):
    x, y = pair()
    module = CharacteristicDiscrepancy(D, family, num_frequencies=32, scale=0.8, amplitude_weight=0.3, corrected=True)
    drawn = copy.deepcopy(module).draw().detach()
    assert drawn.shape == (32, D)
    assert_close(module(x, y), ncfd(x, y, drawn, amplitude_weight=0.3, corrected=True), rtol=0, atol=0)


@every_family
def test_equal_samples_are_0_apart_and_the_order_of_the_two_does_not_matter(family):
    x, y = pair()
    module = CharacteristicDiscrepancy(D, family)
    assert float(module(x, x)) == 0
    assert float(module(x, y, generator=rng(1))) == pytest.approx(float(module(y, x, generator=rng(1))), rel=1e-6)


def test_frequencies_are_drawn_afresh_unless_they_are_kept():
    x, y = pair()
    drawn, kept = CharacteristicDiscrepancy(D), CharacteristicDiscrepancy(D, redraw=False)
    assert float(drawn(x, y)) != float(drawn(x, y))
    assert float(kept(x, y)) == float(kept(x, y))
    assert float(drawn(x, y, generator=rng(4))) == float(drawn(x, y, generator=rng(4)))


def test_the_seed_is_the_stream_and_the_world_is_left_alone():
    x, y = pair()
    state = torch.random.get_rng_state()
    values = [float(CharacteristicDiscrepancy(D, "mixture", seed=seed)(x, y)) for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_scale_and_number_of_a_family_are_those_asked_for():
    t = CharacteristicDiscrepancy(D, num_frequencies=20_000, scale=0.25).draw()
    assert float(t.std()) == pytest.approx(0.25, rel=0.02)


def test_weight_1_sees_no_shift_and_weight_0_no_spread():
    x, t = normal(0, 200, D), 0.5 * normal(1, 64, D)
    both = torch.cat([x, -x])  # Phi is real
    amplitude, phase = (CharacteristicDiscrepancy(D, t, amplitude_weight=w) for w in (1.0, 0.0))
    assert float(amplitude(x, x + 1)) == pytest.approx(0, abs=1e-6)
    assert float(phase(x, x + 1)) > 0.3
    assert float(phase(both, 1.3 * both)) == pytest.approx(0, abs=1e-6)
    assert float(amplitude(both, 1.3 * both)) > 0.1


# ---------------------------------------------------------------- groups and classes


def test_groups_are_compared_one_by_one():
    x, y = normal(0, 4, 2, 9, D), 1 + normal(1, 4, 2, 7, D)
    module = CharacteristicDiscrepancy(D, redraw=False)
    value = module(x, y)
    assert value.shape == (4, 2)
    assert_close(value[3, 1], module(x[3, 1], y[3, 1]))


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_gradients_are_those_of_finite_differences(alpha, chunk_size):
    t = 0.7 * normal(2, 6, D)
    module = CharacteristicDiscrepancy(D, t, amplitude_weight=alpha, chunk_size=chunk_size)
    x, y = normal(0, 7, D).requires_grad_(), (0.5 + normal(1, 5, D)).requires_grad_()
    assert torch.autograd.gradcheck(module, (x, y))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_in_float32(dtype):
    x, y = (rows.to(dtype) for rows in pair())
    module = CharacteristicDiscrepancy(D, redraw=False)
    y.requires_grad_()
    value = module(x, y)
    assert value.dtype == torch.float32
    assert_close(value, module(x.float(), y.float()), rtol=0, atol=0)
    value.backward()
    assert y.grad.dtype == dtype
    assert bool(y.grad.isfinite().all())


def test_descending_brings_the_samples_together():
    x, y = pair(shift=1.5)
    y.requires_grad_()
    module, optimizer = CharacteristicDiscrepancy(D, scale=0.4), torch.optim.Adam([y], lr=0.1)
    held = CharacteristicDiscrepancy(D, scale=0.4, redraw=False, seed=9)
    before = float(held(x, y.detach()))
    for _ in range(60):
        optimizer.zero_grad()
        module(x, y).backward()
        optimizer.step()
    assert float(held(x, y.detach())) < before / 3


# ---------------------------------------------------------------- the adversary


@every_learned
def test_a_loss_leaves_the_adversary_alone_and_the_adversary_the_samples(family):
    x, y = pair()
    y.requires_grad_()
    module = CharacteristicDiscrepancy(D, family)
    module(x, y).backward()
    assert all(p.grad is None for p in module.parameters())
    assert bool((y.grad != 0).all())
    y.grad = None
    before = [p.detach().clone() for p in module.parameters()]
    value = module.ascend(x, y)
    assert value.shape == ()
    assert not value.requires_grad
    assert y.grad is None
    assert any(not torch.equal(p, b) for p, b in zip(module.parameters(), before, strict=True))


@every_learned
def test_what_an_ascent_returns_is_the_mean_before_it(family):
    x, y = pair()
    labels = torch.arange(len(x)) % 2, torch.arange(len(y)) % 2
    module = CharacteristicDiscrepancy(D, family)
    held = copy.deepcopy(module)
    assert_close(module.ascend(x, y, labels=labels), held(x, y, labels=labels).mean().detach())


@every_learned
def test_the_adversary_learns_where_the_samples_differ(family):
    # They differ along the first axis only.
    x = normal(0, 300, D).float()
    y = normal(1, 300, D).float() * torch.tensor([0.3, 1, 1])
    module = CharacteristicDiscrepancy(D, family, scale=0.5, adversary_lr=0.02)
    held = copy.deepcopy(module)
    for _ in range(80):
        module.ascend(x, y)
    before, after = (sum(float(m(x, y, generator=rng(i))) for i in range(5)) for m in (held, module))
    assert after > 1.15 * before


def test_ascending_works_where_gradients_are_switched_off():
    x, y = pair()
    module = CharacteristicDiscrepancy(D, "mixture")
    before = module.sampler.weight_out.detach().clone()
    with torch.no_grad():
        module.ascend(x, y, labels=(torch.arange(40) % 2, torch.arange(30) % 2))
    assert not torch.equal(module.sampler.weight_out, before)


@pytest.mark.parametrize(
    "sampler",
    [GaussianFrequencies(D, 16), StudentTFrequencies(D, 16), DirectFrequencies(D, 16, seed_generator=rng(0))],
    ids=["gaussian", "student", "direct"],
)
def test_a_sampler_of_ones_own_serves(sampler):
    x, y = pair()
    module = CharacteristicDiscrepancy(D, sampler)
    assert module.draw().shape == (16, D)
    assert module.is_learned == any(True for _ in sampler.parameters())
    assert float(module(x, y)) > 0.05


@pytest.mark.parametrize("criterion", ["halves", "studentised"])
@every_learned
def test_an_ascent_raises_its_criterion_and_leaves_the_loss(family, criterion):
    x, y = pair()
    module, plain = (CharacteristicDiscrepancy(D, family, criterion=name) for name in (criterion, "discrepancy"))
    assert torch.equal(module(x, y, generator=rng(1)), plain(x, y, generator=rng(1)))
    held = copy.deepcopy(module)
    of_x, of_y = torch.arange(len(x)) % 2, torch.arange(len(y)) % 2
    t = held.draw().detach()
    expected = [criterion_by_halves(criterion, x[of_x == c], y[of_y == c], t) for c in (0, 1)]
    assert_close(module.ascend(x, y, labels=(of_x, of_y)), torch.stack(expected).mean())

    def now():
        draws = torch.cat([module.draw(rng(i)).detach() for i in range(4)])
        return float(criterion_by_halves(criterion, x, y, draws))

    before = now()
    for _ in range(20):
        module.ascend(x, y)
    assert now() > before


def test_what_cannot_be_halved_is_refused():
    module = CharacteristicDiscrepancy(D, "mixture", criterion="halves")
    with pytest.raises(NcfmError, match="rows to halve"):
        module.ascend(torch.zeros(1, D), torch.zeros(4, D))
    with pytest.raises(NcfmError, match="Unknown criterion"):
        CharacteristicDiscrepancy(D, criterion="noise")


# ---------------------------------------------------------------- state and devices


@every_learned
def test_a_loaded_state_goes_on_as_if_it_had_not_stopped(family, tmp_path):
    x, y = pair()
    module, other = CharacteristicDiscrepancy(D, family), CharacteristicDiscrepancy(D, family, seed=5)
    for _ in range(3):
        module.ascend(x, y)
    torch.save(module.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(3):
        assert float(module.ascend(x, y)) == float(other.ascend(x, y))
    assert float(module(x, y)) == float(other(x, y))


def test_kept_frequencies_are_in_the_state():
    x, y = pair()
    first, second = (CharacteristicDiscrepancy(D, redraw=False, seed=seed) for seed in (0, 1))
    assert float(first(x, y)) != float(second(x, y))
    second.load_state_dict(first.state_dict())
    assert float(first(x, y)) == float(second(x, y))


def test_a_state_before_the_first_ascent_forgets_later_ones():
    x, y = pair()
    module = CharacteristicDiscrepancy(D, "mixture")
    start = copy.deepcopy(module.state_dict())
    first = [float(module.ascend(x, y)) for _ in range(2)]
    module.load_state_dict(start)
    assert [float(module.ascend(x, y)) for _ in range(2)] == first


@every_family
def test_it_is_a_module_that_moves(family):
    module = nn.Sequential(nn.Identity(), CharacteristicDiscrepancy(D, family, redraw=family in LEARNED)).double()
    x, y = (rows.double() for rows in pair())
    assert module[1](x, y).dtype == torch.float64
    on_meta = CharacteristicDiscrepancy(D, family, redraw=family in LEARNED).to("meta")
    assert all(tensor.device.type == "meta" for tensor in (*on_meta.parameters(), *on_meta.buffers()))
    assert on_meta(x.to("meta"), y.to("meta")).device.type == "meta"


def test_what_it_is_can_be_read():
    assert "num_features=3, amplitude_weight=0.5, frequencies=(256, 3)" in repr(
        CharacteristicDiscrepancy(D, redraw=False)
    )
    assert "ScaleMixtureFrequencies()" in repr(CharacteristicDiscrepancy(D, "mixture"))


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((0,), {}, "num_features must be at least 1"),
        ((D, "gausian"), {}, "Did you mean 'gaussian'"),
        ((D,), {"amplitude_weight": 1.5}, r"amplitude_weight must lie in \[0, 1\]"),
        ((D,), {"num_frequencies": 0}, "num_frequencies must be at least 1"),
        ((D,), {"scale": -1.0}, "scale must be above 0"),
        ((D, "mixture"), {"adversary_lr": 0.0}, "adversary_lr must be above 0"),
        ((D, "mixture"), {"redraw": False}, "leave out redraw=False"),
        ((D, GaussianFrequencies(4)), {}, "width 4, the samples have 3"),
        ((D, [1.0]), {}, r"a sampler of ncfm.discrepancy.frequencies or a tensor \(k, d\), got list"),
        ((D, torch.zeros(4, 2)), {}, r"frequencies of shape \(k, 3\), got \(4, 2\)"),
        ((D, torch.zeros(4, D, dtype=torch.int64)), {}, "floating-point frequencies"),
    ],
)
def test_wrong_settings_are_told(arguments, options, words):
    with pytest.raises(NcfmError, match=words):
        CharacteristicDiscrepancy(*arguments, **options)


@pytest.mark.parametrize(
    ("x", "y", "labels", "words"),
    [
        (torch.zeros(5, 2), torch.zeros(5, 2), None, "Expected samples of width 3, got 2"),
        (torch.zeros(5, D), torch.zeros(0, D), None, "at least one row of samples"),
        (torch.zeros(2, 5, D), torch.zeros(3, 5, D), None, "agree but for n and m"),
        (torch.zeros(5, D, dtype=torch.int64), torch.zeros(5, D), None, r"convert with .float\(\)"),
        (torch.zeros(2, D), torch.zeros(2, D), (torch.tensor([0, 1]), torch.tensor([0, 2])), r"Classes \[1, 2\]"),
        (torch.zeros(2, D), torch.zeros(2, D), (torch.tensor([0]), torch.tensor([0, 2])), "one label a row"),
    ],
)
def test_wrong_samples_are_told(x, y, labels, words):
    with pytest.raises(NcfmError, match=words):
        CharacteristicDiscrepancy(D)(x, y, labels=labels)


@pytest.mark.parametrize("frequencies", ["gaussian", torch.ones(4, D)], ids=["family", "tensor"])
def test_fixed_frequencies_cannot_ascend(frequencies):
    with pytest.raises(NcfmError, match="Nothing to train"):
        CharacteristicDiscrepancy(D, frequencies).ascend(*pair())


def test_samplers_of_the_package_are_all_families():
    built = {type(CharacteristicDiscrepancy(D, family).sampler) for family in FAMILIES}
    assert built == {GaussianFrequencies, StudentTFrequencies, ScaleMixtureFrequencies, DirectFrequencies}
