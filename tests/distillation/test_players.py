"""The players: an update changes the tensors in use alone; one adversary for each teacher."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from ncfm._utils.checks import NcfmError
from ncfm.discrepancy.frequencies import LEARNED_SAMPLERS, ScaleMixtureFrequencies
from ncfm.discrepancy.per_teacher import PerTeacherFrequencies
from ncfm.distillation import Interrupted, Player
from ncfm.distillation.objectives import CharacteristicMatching
from strategies import rng
from tiny import WIDTH, distill, make_step, mixture, random_pool

TEACHERS = 3
every_family = pytest.mark.parametrize("family", LEARNED_SAMPLERS)


def per_teacher(number=TEACHERS, family="mixture", **options):
    """An objective with a sampler for each teacher, which start alike."""
    samplers = [LEARNED_SAMPLERS[family](WIDTH, 32, seed_generator=rng(0)) for _ in range(number)]
    return CharacteristicMatching(PerTeacherFrequencies(samplers), **options)


def weights(objective):
    """Those of every sampler."""
    return [[p.detach().clone() for p in sampler.parameters()] for sampler in objective.sampler.samplers]


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.fixture(scope="module")
def pool(images):
    return random_pool(images, number=TEACHERS)


# ---------------------------------------------------------------- a player


def test_an_update_leaves_tensors_that_are_not_in_use_with_their_moments():
    tensors = [torch.ones(2).requires_grad_() for _ in range(2)]
    player = Player(tensors, torch.optim.Adam(tensors, lr=0.1))
    player.update([torch.ones(2), torch.ones(2)])
    tensors[1].requires_grad_(False)
    before, moments = tensors[1].clone(), {k: v.clone() for k, v in player.optimizer.state[tensors[1]].items()}
    assert [t is tensors[0] for t in player.active] == [True]
    for _ in range(3):
        player.update([torch.ones(2)])
    assert torch.equal(tensors[1], before)
    assert all(torch.equal(player.optimizer.state[tensors[1]][k], v) for k, v in moments.items())
    assert int(player.optimizer.state[tensors[0]]["step"]) == 4
    with pytest.raises(ValueError, match="zip"):
        player.update([torch.ones(2), torch.ones(2)])


# ---------------------------------------------------------------- one adversary for each teacher


@every_family
@pytest.mark.parametrize("steps", [(1, 1), (2, 1)])
@pytest.mark.parametrize("criterion", ["discrepancy", "halves"])
def test_only_the_sampler_of_the_drawn_teacher_changes(images, pool, family, steps, criterion):
    objective = per_teacher(family=family, criterion=criterion)
    played = make_step(images, pool, objective=objective, ascent_steps=steps[0], descent_steps=steps[1])
    drawn = []
    for _ in range(8):
        before = weights(objective)
        played()
        drawn.append(pool.drawn.teacher)
        changed = [not equal(a, b) for a, b in zip(before, weights(objective), strict=True)]
        assert changed == [teacher == drawn[-1] for teacher in range(TEACHERS)]
    assert len(set(drawn)) > 1
    for teacher, sampler in enumerate(objective.sampler.samplers):
        counted = {int(played.adversary.optimizer.state[p].get("step", 0)) for p in sampler.parameters()}
        assert counted == {steps[0] * drawn.count(teacher)}


def test_blends_of_a_teacher_have_its_sampler(images, pool):
    played = make_step(images, pool, objective=per_teacher())
    seen = {}
    for _ in range(12):
        played()
        seen.setdefault(pool.drawn.teacher, set()).add(pool.drawn.blend)
        assert played.objective.sampler.teacher == pool.drawn.teacher
    assert any(len(blends) > 1 for blends in seen.values())


def test_the_frequencies_of_a_teacher_are_those_that_its_sampler_draws(images, pool):
    played, other = (make_step(images, pool, objective=per_teacher()) for _ in range(2))
    with torch.no_grad():
        for index, sampler in enumerate(other.objective.sampler.samplers):
            sampler.bias_out += index
    assert pool.draw(played.streams["teachers"]) is pool.blended
    teacher = pool.drawn.teacher
    played.streams.load_state({k: v for k, v in played.streams.state().items() if k != "teachers"})
    records = played(), other()
    assert torch.equal(*(record.discrepancy for record in records)) == (teacher == 0)


@every_family
@pytest.mark.parametrize("options", [{}, {"ascent_steps": 2, "descent_steps": 2}, {"criterion": "studentised"}])
def test_with_one_teacher_it_is_the_sampler_for_all(images, family, options):
    pool, criterion = random_pool(images, number=1), options.get("criterion", "discrepancy")
    options = {k: v for k, v in options.items() if k != "criterion"}
    alone = CharacteristicMatching(LEARNED_SAMPLERS[family](WIDTH, 32, seed_generator=rng(0)), criterion=criterion)
    own = per_teacher(1, family, criterion=criterion)
    results = [
        distill(images, pool, of, ipc=1, iterations=4, real_batch_per_class=4, log_every=1, **options)
        for of in (alone, own)
    ]
    assert torch.equal(*(result.synthetic.images for result in results))
    histories = [[{k: v for k, v in e.items() if k != "seconds"} for e in r.history] for r in results]
    assert histories[0] == histories[1]
    assert equal(alone.sampler.parameters(), own.sampler.parameters())


def test_it_is_resumed_bit_for_bit(images, pool, tmp_path):
    def run(name, **options):
        own = {"ipc": 1, "iterations": 11, "real_batch_per_class": 4, "folder": tmp_path / name} | options
        return distill(images, pool, per_teacher(criterion="halves"), **own)

    def stop(iteration, metrics):
        if iteration == 2:  # not every teacher has been drawn
            raise Interrupted("enough")

    straight = run("straight")
    with pytest.raises(Interrupted):
        run("cut", on_iteration=stop)
    cut = load_file(tmp_path / "cut" / "state.safetensors")
    resumed = run("cut", resume=True)
    assert torch.equal(resumed.synthetic.images, straight.synthetic.images)
    a, b = (load_file(tmp_path / name / "state.safetensors") for name in ("straight", "cut"))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert {f"adversary.samplers.{i}.weight_in" for i in range(TEACHERS)} < a.keys()
    moments = [{name for name in state if name.startswith("adversary_optimizer")} for state in (cut, a)]
    assert moments[0] < moments[1]  # those of a sampler begin with its teacher's first iteration


def test_a_checkpoint_of_another_number_of_teachers_is_refused(images, pool, tmp_path):
    options = {"ipc": 1, "iterations": 2, "real_batch_per_class": 4, "folder": tmp_path}
    distill(images, pool, per_teacher(), **options)
    with pytest.raises(NcfmError, match=r"adversary\.samplers\.2"):
        distill(images, pool, per_teacher(2), resume=True, **options)
    with pytest.raises(NcfmError, match=r"expected adversary\.weight_in"):
        distill(images, pool, mixture(32), resume=True, **options)


def test_a_diagnosis_looks_at_the_sampler_of_its_extractor_and_changes_nothing(images, pool):
    played, other = (make_step(images, pool, objective=per_teacher()) for _ in range(2))
    for _ in range(4):
        played()
        other()
        assert played.diagnose() is not None
        assert played.objective.sampler.teacher == pool.drawn.teacher
        assert played.spectrum() is not None
    assert torch.equal(played.images.tensors[0], other.images.tensors[0])
    assert equal(played.adversary.tensors, other.adversary.tensors)


class Embedded(ScaleMixtureFrequencies):
    """A user's own sampler: a scale learned for each teacher, and moved by the blend."""

    def __init__(self):
        super().__init__(WIDTH, 32, seed_generator=rng(0))
        self.own = nn.ParameterList([nn.Parameter(torch.zeros(())) for _ in range(TEACHERS)])
        self.given = []

    def condition(self, teacher, blend):
        self.given.append((teacher, blend))
        for index, parameter in enumerate(self.own):
            parameter.requires_grad_(index == teacher)

    def sample(self, generator):
        teacher, blend = self.given[-1]
        return super().sample(generator) * torch.exp((1 - blend) * self.own[teacher])


def test_a_sampler_of_ones_own_may_depend_on_teacher_and_blend(images, pool):
    objective = CharacteristicMatching(Embedded())
    played = make_step(images, pool, objective=objective)
    drawn = []
    for _ in range(6):
        before = [float(p.detach()) for p in objective.sampler.own]
        played()
        drawn.append(tuple(pool.drawn))
        changed = [a != float(p.detach()) for a, p in zip(before, objective.sampler.own, strict=True)]
        assert changed == [teacher == drawn[-1][0] for teacher in range(TEACHERS)]
    assert objective.sampler.given == drawn


def test_what_a_conditioned_sampler_cannot_do_is_refused(images, pool):
    with pytest.raises(NcfmError, match=r"teachers\.extractor=random; choose blended or trained"):
        make_step(images, pool, objective=per_teacher(), extractor="random")
    with pytest.raises(NcfmError, match=r"machine\.compile=step compiles one sampler"):
        make_step(images, pool, objective=per_teacher(), compile_step=True)
    played = make_step(images, pool, objective=per_teacher(1))
    with pytest.raises(NcfmError, match="which have a sampler each"):
        [played() for _ in range(20)]


def test_trained_extractors_have_their_samplers_too(images, pool):
    played = make_step(images, pool, objective=per_teacher(), extractor="trained")
    played()
    assert pool.drawn.blend == 0.0
    assert played.objective.sampler.teacher == pool.drawn.teacher
