"""The settings of a run where the user gives none: recipe, nearest recipe, or what follows from the data."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ncfm._utils.checks import NcfmError
from ncfm._utils.compute import Compute
from ncfm._utils.files import read_json
from ncfm._utils.progress import Reporter
from ncfm.config import data_defaults as rules
from ncfm.config.build import build_teacher_recipe
from ncfm.config.choices import Choice, read_choices, recipe_choice
from ncfm.config.loops import loop_of
from ncfm.config.pools import TEACHERS
from ncfm.config.resolve import CHOICES, Settings, fitting_recipe, name_of, resolve_config
from ncfm.config.schema import RunConfig
from ncfm.config.teacher_pools import DETERMINING
from ncfm.config.unread import unread_by_all
from ncfm.data.augment import without
from ncfm.data.image_set import ImageSet
from ncfm.data.summary import LARGEST_USUAL, size_advice
from ncfm.synthetic.counts import Ipc, Spec, counts_for, mean_of
from ncfm.synthetic.folders import CONFIG_FILE
from ncfm.training import pilot as pilots
from ncfm.training.pilot import Pilot
from ncfm.training.recipe import TrainingRecipe
from ncfm.workflows.checks import check_distillation, check_students
from ncfm.workflows.preparation import prepare

LARGE_SHARE = 0.25  # of the real images of a class, stored: random ones are then as good


class Prepared(NamedTuple):
    """What a run begins with."""

    images: ImageSet
    machine: Compute
    config: RunConfig
    choices: tuple[Choice, ...]  # that the configuration contains


@dataclass(frozen=True)
class Asked:
    """What the user asks for: arguments as in `ncfm.distill`; ``ipc`` None for teachers alone."""

    data: str | ImageSet
    ipc: Spec | None
    recipe: str | None
    settings: Settings
    seed: int | None
    distils: bool = True  # whether a set is distilled, and not only selected

    def config(self, choices: Sequence[Choice] = ()) -> RunConfig:
        """The configuration, with settings that were chosen in place of those of a recipe."""
        return resolve_config(self.data, self.ipc, self.recipe, self.settings, self.seed, choices)

    def before_data(self, folder: Path | None = None) -> tuple[Choice, ...] | None:
        """What is chosen before the data are read; None if they decide.

        Args:
            folder: of a run that is resumed, whose choices hold, and none for a run that has none.
        """
        if folder is not None and (folder / CONFIG_FILE).is_file():
            with contextlib.suppress(NcfmError):
                stored = read_json(folder / CONFIG_FILE)
                return read_choices(stored.get(CHOICES)) if isinstance(stored, dict) else ()
        fitting = fitting_recipe(self.data, self.ipc)
        if self.recipe is not None or fitting is not None:
            return ()
        return recipe_choice(name_of(self.data), self.ipc, fitting) or None

    def prepare(
        self,
        chosen: tuple[Choice, ...] | None,
        data_dir: str | Path | None,
        reporter: Reporter,
        *,
        train: bool = True,
    ) -> Prepared:
        """Read the data, and choose what follows from them; every choice is a remark of the reporter.

        Args:
            chosen: of `before_data`.
            data_dir: as in `ncfm.distill`.
            reporter: gets the remarks.
            train: whether a pilot may be trained; if not, only a cached one is used.
        """
        images, machine = prepare(self.data, self.config(chosen or ()), data_dir)
        if images.image_size > LARGEST_USUAL and self.config(chosen or ()).data.image_size is None:
            warnings.warn(f"{images.name}: {size_advice(images)}.", stacklevel=2)
        if chosen is None:
            chosen = self._follow(images, machine, reporter, train)
        for choice in chosen:
            reporter.remark(f"{images.name}: {choice}")
        return Prepared(images, machine, self.config(chosen), chosen)

    def name_unread(self, configs: Sequence[RunConfig], reporter: Reporter) -> None:
        """Name the settings of the user that none of some runs reads, as remarks of the reporter."""
        for line in unread_by_all(configs, self.settings):
            reporter.remark(line)

    def lacks_pilot(self, images: ImageSet, machine: Compute) -> bool:
        """Whether a run would train a pilot: the data decide, and the cache has none."""
        given = self.given
        config = self.config(self._of_network(images))
        entry = pilots.pilot_entry(images, config.teachers.network, pilot_recipe(config), machine.precision)
        return needs_pilot(images, config, given) and pilots.read_pilot(entry) is None

    @property
    def given(self) -> frozenset[str]:
        """The settings that the user gives; with a written pool also all that it determines."""
        of_pool = [f"teachers.{key}" for key in DETERMINING] if self.settings.get("teachers.pool") else []
        return frozenset([*self.settings, *of_pool])

    def _of_network(self, images: ImageSet) -> list[Choice]:
        """The choices that a pilot depends on."""
        config, given = self.config(), self.given
        return rules.choose_network(images, config, given) + rules.choose_teacher_batch(images, config, given)

    def _follow(self, images: ImageSet, machine: Compute, reporter: Reporter, train: bool) -> tuple[Choice, ...]:
        """The choices of `ncfm.config.data_defaults`; what cannot be distilled is refused before a pilot is trained."""
        config = self.config(self._of_network(images))
        if train and needs_pilot(images, config, self.given):
            self._check(images, self.config(self._by_rules(images, None)), machine)
        pilot = _pilot(images, config, machine, reporter, self.given, train)
        if self.ipc is not None:
            _warn(images, counts_for(self.ipc, images.train.counts), pilot)
        return self._by_rules(images, pilot)

    def _by_rules(self, images: ImageSet, pilot: Pilot | None) -> tuple[Choice, ...]:
        """The choices, in the order in which they depend on each other."""
        given, found = self.given, self._of_network(images)
        config = self.config(found)
        found += rules.choose_mirroring(images, config, given, pilot)
        found += rules.choose_epochs(images, build_teacher_recipe(config), given, pilot)
        found += rules.choose_batch(images, given)
        if self.ipc is not None:
            ipc = counts_for(self.ipc, images.train.counts)
            found += rules.choose_factor(images, ipc, given)
            found += rules.choose_iterations(images, self.config(found), ipc, given)
        return tuple(found)

    def _check(self, images: ImageSet, config: RunConfig, machine: Compute) -> None:
        """Check what the run would be refused for after the pilot."""
        if self.ipc is None:
            return
        check_students(images, config)
        if self.distils:
            check_distillation(images, config, machine, counts_for(self.ipc, images.train.counts))


def pilot_recipe(config: RunConfig) -> TrainingRecipe:
    """How a pilot is trained: as the teachers, without mirroring."""
    recipe = build_teacher_recipe(config)
    return replace(recipe, augment=without("flip", recipe.augment))


def needs_pilot(images: ImageSet, config: RunConfig, given: frozenset[str]) -> bool:
    """Whether a pilot is to say how long teachers train: those of distribution matching, unless the user says it."""
    trained = loop_of(config).needs(config).name == TEACHERS.name
    return trained and "teachers.epochs" not in given and pilots.is_possible(images)


def _pilot(
    images: ImageSet, config: RunConfig, machine: Compute, reporter: Reporter, given: frozenset[str], train: bool
) -> Pilot | None:
    """The pilot, trained or from the cache; None if there is none."""
    if not needs_pilot(images, config, given):
        return None
    recipe, network = pilot_recipe(config), config.teachers.network
    entry = pilots.pilot_entry(images, network, recipe, machine.precision)
    if not train or pilots.read_pilot(entry) is not None:
        return pilots.read_pilot(entry)

    def work() -> Pilot:
        return pilots.cached_pilot(images, network=network, recipe=recipe, compute=machine, on_epoch=reporter.update)

    reporter.begin("pilot", pilots.rounds(len(pilots.held_out(images)[0]), recipe)[-1], unit="epoch")
    found: Pilot = machine.ranks.main_process_first(work)
    reporter.end()
    return found


def _warn(images: ImageSet, ipc: Ipc, pilot: Pilot | None) -> None:
    """Warn where a distilled set will hardly be better than real images."""
    real = float(images.train.counts.double().mean())
    if mean_of(ipc) >= LARGE_SHARE * real:
        warnings.warn(
            f"{images.name}: {mean_of(ipc):.3g} of {real:.0f} images per class are stored; real images chosen at "
            "random may be as good. `ncfm compare` shows it.",
            stacklevel=2,
        )
    if pilot is not None and pilot.accuracies[-1] < 2 / images.num_classes:
        warnings.warn(
            f"{images.name}: after {pilot.epochs[-1]} epochs a network recognises {pilot.accuracies[-1]:.1%} of "
            f"held-out images, little above chance ({1 / images.num_classes:.1%}); a distilled set will show no more. "
            "Check the labels, or give larger images or longer training (--set teachers.epochs=N).",
            stacklevel=2,
        )


def described(choices: Sequence[Choice]) -> dict[str, Any]:
    """The choices, for the facts of a set and the configuration of a run; empty if there are none."""
    return {CHOICES: [choice.as_dict() for choice in choices]} if choices else {}
