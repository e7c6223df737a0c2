"""What a set is good for: scores beside its accuracy, continual learning, architecture search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from ncfm._utils.checks import NcfmError, check_at_least, check_known
from ncfm._utils.progress import Reporter, Silent
from ncfm._utils.seeding import derive_seed, generator
from ncfm._utils.types import LabelledImages
from ncfm.baselines import BY_TEACHERS, SELECTIONS, select
from ncfm.build import Machine, build_protocol, build_targets, build_teacher_recipe
from ncfm.config import RunConfig, make_config, nest
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.evaluation import EvaluationResult, Protocol
from ncfm.evaluation.continual import ContinualResult, learn_continually
from ncfm.evaluation.scores import augmentation_robust_interval, label_robust_interval
from ncfm.evaluation.search import SearchResult
from ncfm.evaluation.statistics import Estimate
from ncfm.runs import judge, prepare, train_students, train_teachers
from ncfm.settings import Settings
from ncfm.synthetic.soft_labels import SoftTargets, StudentTargets
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.teachers import TeacherPool, untrained_pool

FULL_EPOCHS = 20


@dataclass(frozen=True)
class Opened:
    """A set with its real data, as all uses need them."""

    synthetic: SyntheticSet
    images: ImageSet
    config: RunConfig
    machine: Machine

    @classmethod
    def of(
        cls,
        synthetic: SyntheticSet | str | Path,
        on: str | ImageSet | None,
        settings: Settings | None,
        seed: int | None,
        data_dir: str | Path | None,
    ) -> Opened:
        """The set, its data, and its own recipe with the settings over it.

        Raises:
            NcfmError: if the set does not say what it was made from, or does not fit the data.
        """
        if isinstance(synthetic, (str, Path)):
            synthetic = SyntheticSet.load(synthetic)
        data = on if on is not None else synthetic.facts.get("data")
        if data is None:
            raise NcfmError("The set does not say what data it was made from; name them (--on).")
        config = make_config(
            synthetic.facts.get("config", {}), nest(settings or {}), {} if seed is None else {"seed": seed}
        )
        images, machine = prepare(data, config, data_dir)
        if synthetic.class_names != images.class_names:
            raise NcfmError(f"The set and {images.name} have other classes; use the data it was made from.")
        return cls(synthetic, images, config, machine)

    @property
    def asks_teachers(self) -> bool:
        """Whether students learn from teachers who are there while they train."""
        return self.config.evaluate.labels == "teacher"

    def targets(self, pool: TeacherPool | None = None) -> StudentTargets | None:
        """The set's soft labels or the teachers, as the configuration wants them used."""
        return build_targets(self.config, self.synthetic.soft_labels, pool)

    def selection(self, method: str, ipc: int, pool: TeacherPool, run: int = 0) -> LabelledImages:
        """A selection of real images at the same storage, another one for each run where it is random."""
        rng = generator(self.config.seed, method, *([run] if run else []))
        return select(method, self.images, pool, ipc=ipc, factor=self.config.distill.factor, generator=rng).decoded()


# --- scores -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScoreResult:
    """DD-Ranking's scores of a set, with what they are made from; accuracies are fractions."""

    full_hard: EvaluationResult  # of the full training split, hard labels
    synthetic_hard: EvaluationResult
    synthetic: EvaluationResult  # with the set's own labels
    random: EvaluationResult  # random real images at the same storage, the same recipe and kind of labels
    synthetic_plain: EvaluationResult  # without augmentation
    random_plain: EvaluationResult
    storage: int  # real images per class that take the space of the set, labels included

    @property
    def evaluations(self) -> dict[str, EvaluationResult]:
        """All of them by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "storage"}

    @property
    def hard_label_recovery(self) -> float:
        """HLR: what is lost against the full set, hard labels."""
        return self.full_hard.accuracy_mean - self.synthetic_hard.accuracy_mean

    @property
    def improvement_over_random(self) -> float:
        """IOR: what is gained over random images."""
        return self.synthetic.accuracy_mean - self.random.accuracy_mean

    @property
    def label_robust_score(self) -> Estimate:
        """LRS with its 95 % interval."""
        own = self.synthetic.accuracies
        return label_robust_interval(
            self.full_hard.accuracies,
            self.synthetic_hard.accuracies,
            self.random.accuracies,
            synthetic=None if own == self.synthetic_hard.accuracies else own,
        )

    @property
    def augmentation_robust_score(self) -> Estimate:
        """ARS with its 95 % interval."""
        return augmentation_robust_interval(
            self.synthetic.accuracies,
            self.random.accuracies,
            self.synthetic_plain.accuracies,
            self.random_plain.accuracies,
        )


def score(
    synthetic: SyntheticSet | str | Path,
    on: str | ImageSet | None = None,
    *,
    full_epochs: int = FULL_EPOCHS,
    full_runs: int | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    reporter: Reporter | None = None,
) -> ScoreResult:
    """DD-Ranking's scores of a set: how much of the full set it recovers, and how much of it is not mere recipe.

    The random images are drawn anew for every student, so that the interval holds the luck of the choice. Where the set
    has soft labels, the random images get theirs from the same teachers, and as many more images as the labels cost;
    where students ask the teachers, those of random images do too.

    Args:
        synthetic, on, settings, seed, data_dir, reporter: as in `ncfm.evaluate`.
        full_epochs: of a network on the full training split, by the recipe of the teachers.
        full_runs: networks on the full split; default: as many as students.

    Raises:
        NcfmError: if the set does not fit the data.
    """
    at = Opened.of(synthetic, on, settings, seed, data_dir)
    reporter = reporter or Silent()
    hard = make_config(at.config.model_dump(), nest({"evaluate.labels": "hard"}))
    plain = make_config(at.config.model_dump(), nest({"evaluate.augment": "none"}))
    train = at.synthetic.decoded()

    def judged(config: RunConfig, stage: str) -> EvaluationResult:
        soft = build_targets(config, at.synthetic.soft_labels, pool)
        return judge(train, at.images, config, at.machine, stage, reporter, soft=soft, protocol=protocol(config, soft))

    def protocol(config: RunConfig, soft: StudentTargets | None) -> Protocol:
        found = build_protocol(config, soft)
        mixing = 0.0 if config is plain else found.recipe.cutmix_probability
        return replace(found, recipe=replace(found.recipe, cutmix_probability=mixing))

    storage = max(round(at.synthetic.storage), 1)
    needs = at.asks_teachers or at.targets() is not None
    pool = train_teachers(at.images, at.config, at.machine, reporter) if needs else _no_teachers(at)
    found = {
        "synthetic_hard": judged(hard, "set, hard labels"),
        "synthetic": judged(at.config, "set"),
        "synthetic_plain": judged(plain, "set, no augmentation"),
    }
    for name, config in (("random", at.config), ("random_plain", plain)):
        of_runs = []
        runs = build_protocol(config).num_runs
        reporter.begin(name.replace("_", ", "), runs)
        for run in range(runs):
            chosen, soft = at.selection("random", storage, pool, run), at.targets(pool)
            if isinstance(soft, SoftTargets):
                soft = soft._replace(log_probabilities=pool.log_probabilities(chosen.images))
            of_runs.append(_one(at, chosen, replace(protocol(config, soft), num_runs=1), config, run, soft=soft))
            reporter.update(run + 1)
        reporter.end()
        found[name] = _together(of_runs)
    recipe = replace(build_teacher_recipe(at.config), epochs=full_epochs)
    count = full_runs or build_protocol(at.config).num_runs
    full = Protocol(f"teachers@epochs={full_epochs}", recipe, num_runs=count, looks=1)
    whole = LabelledImages(at.images.train.images, at.images.train.labels)
    found["full_hard"] = judge(whole, at.images, hard, at.machine, "full set", reporter, protocol=full)
    return ScoreResult(**found, storage=storage)


def _no_teachers(at: Opened) -> TeacherPool:
    """For selections that ask none."""
    return untrained_pool(at.images, at.config.teachers.network, device=at.machine.device)


def _one(
    at: Opened,
    train: LabelledImages,
    protocol: Protocol,
    config: RunConfig,
    run: int,
    *,
    test: ImageSplit | None = None,
    num_classes: int | None = None,
    soft: StudentTargets | None = None,
) -> EvaluationResult:
    """One student of a set of its own."""
    return train_students(
        train,
        at.images.require_test() if test is None else test,
        num_classes=num_classes or at.images.num_classes,
        statistics=at.images.statistics,
        protocol=protocol,
        config=config,
        machine=at.machine,
        seed=derive_seed(config.seed, "uses", run),
        soft=soft,
    )


def _together(results: Sequence[EvaluationResult]) -> EvaluationResult:
    """Students of several evaluations as one."""
    return replace(results[0], students=tuple(student for result in results for student in result.students))


# --- continual learning -------------------------------------------------------------------------------------


def continual(
    synthetic: SyntheticSet | str | Path,
    on: str | ImageSet | None = None,
    *,
    steps: int = 5,
    methods: Sequence[str] = ("random", "herding"),
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    reporter: Reporter | None = None,
) -> dict[str, ContinualResult]:
    """Class-incremental learning with the set as memory, beside selections of real images at the same storage.

    A distilled set was made with teachers that knew all classes, and herding chooses in their features; random images
    owe them nothing. Students learn from hard labels.

    Args:
        synthetic, on, settings, seed, data_dir, reporter: as in `ncfm.evaluate`; ``evaluate.runs`` repetitions, each
            with a class order of its own, the same for all memories.
        steps: in which the classes arrive, as equal as can be.
        methods: memories beside the set, of random, herding, kcenter, kmeans, mosaic, rded.

    Returns:
        By memory, the set's own as "set".

    Raises:
        NcfmError: for unknown methods, or more steps than classes.
    """
    for method in methods:
        check_known(method, SELECTIONS, "memory")
    at = Opened.of(synthetic, on, settings, seed, data_dir)
    reporter = reporter or Silent()
    needs = any(method in BY_TEACHERS for method in methods)
    pool = train_teachers(at.images, at.config, at.machine, reporter) if needs else _no_teachers(at)
    memories = {"set": at.synthetic.decoded()}
    memories |= {method: at.selection(method, at.synthetic.ipc, pool) for method in methods}
    protocol = build_protocol(at.config)
    once = replace(protocol, num_runs=1)
    found = {}
    for name, memory in memories.items():
        done = 0
        reporter.begin(f"{name}, {steps} steps", steps * protocol.num_runs)

        def judge_one(train: LabelledImages, test: ImageSplit, num_classes: int, run: int) -> EvaluationResult:
            nonlocal done
            result = _one(at, train, once, at.config, run, test=test, num_classes=num_classes)
            done += 1
            reporter.update(done)
            return result

        found[name] = learn_continually(
            memory,
            at.images.require_test(),
            num_classes=at.images.num_classes,
            steps=steps,
            runs=protocol.num_runs,
            seed=at.config.seed,
            judge=judge_one,
        )
        reporter.end()
    return found


# --- architecture search ------------------------------------------------------------------------------------


def search(
    synthetic: SyntheticSet | str | Path,
    on: str | ImageSet | None = None,
    *,
    networks: Sequence[str],
    full_epochs: int = FULL_EPOCHS,
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    reporter: Reporter | None = None,
) -> SearchResult:
    """Rank networks by their accuracy after training on the set, and after training on the full split.

    Args:
        synthetic, on, settings, seed, data_dir, reporter: as in `ncfm.evaluate`; ``evaluate.runs`` students of each
            network on the set.
        networks: at least three names, see `ncfm.evaluation.search.convnet_grid`.
        full_epochs: of the one network of each name on the full training split, by the recipe of the teachers.

    Raises:
        NcfmError: for fewer than three networks, or unknown ones.
    """
    check_at_least(len(networks), 3, "number of networks to rank")
    at = Opened.of(synthetic, on, settings, seed, data_dir)
    reporter = reporter or Silent()
    pool = train_teachers(at.images, at.config, at.machine, reporter) if at.asks_teachers else None
    train, targets = at.synthetic.decoded(), at.targets(pool)
    whole = LabelledImages(at.images.train.images, at.images.train.labels)
    recipe = replace(build_teacher_recipe(at.config), epochs=full_epochs)
    full = Protocol(f"teachers@epochs={full_epochs}", recipe, num_runs=1, looks=1)
    proxies: list[EvaluationResult] = []
    fulls: list[EvaluationResult] = []
    for network in networks:
        config = make_config(at.config.model_dump(), nest({"evaluate.network": network}))
        proxies.append(judge(train, at.images, config, at.machine, network, reporter, soft=targets))
        stage = f"{network}, full set"
        fulls.append(judge(whole, at.images, config, at.machine, stage, reporter, protocol=full))
    return SearchResult(
        tuple(networks),
        proxy=tuple(e.accuracy_mean for e in proxies),
        full=tuple(e.accuracy_mean for e in fulls),
        proxy_seconds=math.fsum(e.seconds for e in proxies),
        full_seconds=math.fsum(e.seconds for e in fulls),
    )
