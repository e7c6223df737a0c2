"""The stage that distils: from prepared networks to a set in a folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from ncfm._utils.checks import NcfmError
from ncfm._utils.compute import Compute
from ncfm._utils.device import describe_device
from ncfm._utils.files import write_json
from ncfm._utils.progress import Reporter
from ncfm.config.loops import loop_of
from ncfm.config.methods import usual_method
from ncfm.config.more_iterations import RAISED_AT, raised_at, suffix_of_variant
from ncfm.config.resolve import FINGERPRINT, data_folder, describe_run, variant_of
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import ImageSet
from ncfm.distillation import DistillResult
from ncfm.distillation.checkpoint import has_checkpoint
from ncfm.distillation.control import RunControl
from ncfm.results.files import code_version, command_line, library_versions
from ncfm.synthetic.counts import Spec, counts_for
from ncfm.synthetic.folders import CONFIG_FILE, SCORES_FILE, SET_FOLDER
from ncfm.synthetic.image_grid import save_image_grid
from ncfm.synthetic.storage import load, save
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.workflows.changed_data import fingerprint_of_run
from ncfm.workflows.extension import read_earlier

PICTURE_FILE = "images.png"


def distill_into(
    images: ImageSet,
    pool: Any,
    config: RunConfig,
    machine: Compute,
    *,
    ipc: Spec,
    folder: Path | None,
    resume: bool,
    reporter: Reporter,
    stage: str = "distilling",
    method: str | None = None,
    variant: str | None = None,
    choices: Mapping[str, Any] = MappingProxyType({}),
) -> DistillResult:
    """Distil and write the set and its picture.

    ``pool`` are the networks that the objective needs, see `train_pool`. ``method`` and ``variant`` are recorded in
    the set; by default they follow from the objective and the settings. ``choices`` are the settings that were chosen
    for the data, as facts.
    """
    # As the first rank sees it: the others may read the folder earlier or later.
    resume = machine.ranks.gather_objects(resume and folder is not None and has_checkpoint(folder))[0]
    described = _describe(images, config, machine, ipc, folder, resume, choices)
    budget = config.distill.seconds
    if budget is None:
        reporter.begin(stage, config.distill.iterations, unit="iteration")
    else:
        reporter.begin(stage, math.ceil(budget), unit="second")
    control = RunControl(
        folder=folder,
        resume=resume,
        on_iteration=lambda i, metrics: reporter.update(
            i if budget is None else min(int(metrics["seconds"]), math.ceil(budget)), _note(metrics)
        ),
    )
    counts, earlier = counts_for(ipc, images.train.counts), read_earlier(config.distill, images)
    result = loop_of(config).run(images, pool, config, machine, ipc=counts, control=control, extend=earlier)
    reporter.end()
    facts = (
        described
        | data_folder(images.name)
        | {
            "training_images": len(images.train),
            "data_problems": list(images.problems),
            "method": method or usual_method(config.objective.name).name,
            "variant": (_variant(images, ipc, config, described.get(RAISED_AT, [])) if variant is None else variant),
            "iterations": result.iterations,
            "teacher_seconds": round(pool.seconds, 3),
            **({"teacher_accuracies": list(pool.accuracies)} if pool.accuracies else {}),
            "distill_seconds": round(result.seconds, 3),
            "distill_memory_mb": round(result.peak_memory_mb, 1),
            "command": command_line(),
            "code": code_version(),
            "versions": library_versions(),
            "device": describe_device(machine.device),
        }
    )
    result = replace(result, synthetic=replace(result.synthetic, facts=facts))
    if folder is not None:
        machine.ranks.on_main_process(lambda: _write(result.synthetic, folder))
    return result


def _describe(
    images: ImageSet,
    config: RunConfig,
    machine: Compute,
    ipc: Spec,
    folder: Path | None,
    resume: bool,
    choices: Mapping[str, Any],
) -> dict[str, Any]:
    """What a run is, its data, the choices for them, and when it got more iterations; written to its folder.

    A resumed run keeps the fingerprint that is recorded, also if none is: the data of its first iterations count.
    """
    found = images.fingerprint if folder is None or not resume else fingerprint_of_run(folder)
    fingerprint = machine.ranks.gather_objects(found)[0]
    described = describe_run(images.name, ipc, config) | ({} if fingerprint is None else {FINGERPRINT: fingerprint})
    raised = raised_at(folder, CONFIG_FILE, config) if folder is not None and resume else []
    described |= ({RAISED_AT: raised} if raised else {}) | dict(choices)
    if folder is not None:
        machine.ranks.on_main_process(lambda: write_json(folder / CONFIG_FILE, described))
    return described


def _variant(images: ImageSet, ipc: Spec, config: RunConfig, raised: list[int]) -> str:
    """The variant of a run, which may have unequal classes, and have been given more iterations."""
    counts = counts_for(ipc, images.train.counts)
    asked = counts if isinstance(counts, int) else ipc  # equal classes are one number
    return ",".join(filter(None, [variant_of(images.name, asked, config), suffix_of_variant(raised, config)]))


def _write(synthetic: SyntheticSet, folder: Path) -> None:
    """The set and its picture."""
    _set_scores_aside(synthetic, folder)
    save(synthetic, folder / SET_FOLDER)
    save_image_grid(folder / PICTURE_FILE, synthetic.images, synthetic.class_names, counts=synthetic.counts)


def _set_scores_aside(synthetic: SyntheticSet, run: Path) -> None:
    """Rename the score file of a run folder whose set is about to be replaced by one of other images."""
    path = run / SCORES_FILE
    if not path.is_file():
        return
    try:
        earlier = load(run / SET_FOLDER)
    except NcfmError:  # there is none, or it is damaged
        return
    if not torch.equal(earlier.images, synthetic.images.detach().cpu()):
        path.replace(run / f"scores-after-{earlier.facts.get('iterations', 'unknown')}-iterations.json")


def _note(metrics: Mapping[str, float]) -> str:
    """The loss of an iteration with its time and memory, to be shown next to the progress."""
    name = "discrepancy" if "discrepancy" in metrics else "gap"
    note = f"{name} {metrics[name]:.4f}"
    if "seconds_per_iteration" in metrics:  # there are none before the first metrics
        note += f", {metrics['seconds_per_iteration']:.3g} s/it, {metrics['memory_mb']:.0f} MiB"
    return note
