"""The headline facts of the report, and its provenance section."""

from __future__ import annotations

import shlex
from statistics import fmean

from ncfm._utils.checks import NcfmError
from ncfm._utils.progress import counted
from ncfm.config.choices import nearest_recipe
from ncfm.config.keys import dotted
from ncfm.config.resolve import fitting_recipe, resolve_config
from ncfm.report.page import Fact
from ncfm.report.run_folder import RunFolder
from ncfm.report.settings import setting_text
from ncfm.results.formatting import duration, percent, spaced
from ncfm.results.published import published

SHOWN_SETTINGS = 2  # of a variant, in the card of the method


def accuracy_fact(run: RunFolder) -> Fact | None:
    """The accuracy of the run, with its interval and the conditions."""
    score = run.score
    if score is None:
        return None
    count = len(score.accuracies)
    networks = f"{count} networks" if count != 1 else "one network, so no interval"
    paper = published(run.data, run.ipc, score.network)
    note = f"{score.network}, {spaced(score.protocol)}, {networks}, after the last epoch"
    if paper is not None:
        note += f". The paper reports {paper:.1f} % as the best test accuracy during training"
    reach = f"95 % interval {percent(score.low)} to {percent(score.high)} %" if score.low is not None else ""
    return Fact(reach, f"{percent(score.mean)} %", note)


def headline_facts(run: RunFolder) -> list[Fact]:
    """Data, method, and costs of the run."""
    found, s = [], run.synthetic
    if run.data:
        classes = "" if s is None else f"{counted(s.num_classes, 'class')}, {s.images.shape[-1]} px"
        found.append(Fact("Data", run.data, classes))
    if run.ipc is not None:
        note = "" if s is None or s.decoded_ipc == s.ipc else f"{s.decoded_ipc} per class after decoding"
        found.append(Fact("Stored images per class", str(run.ipc), note))
    if s is not None:
        found.append(Fact("Chance", f"{100 / s.num_classes:.3g} %", "random guessing"))
    method = str(run.facts.get("method", run.config.objective.name if run.config else ""))
    if method:
        found.append(Fact("Method", method, variant_note(str(run.facts.get("variant", "")))))
    iterations = run.facts.get("iterations", run.metrics[-1]["iteration"] if run.metrics else None)
    if isinstance(iterations, (int, float)):
        planned = run.config.distill.iterations if run.config else None
        by_time = run.config is not None and run.config.distill.seconds is not None
        note = f"of {planned:,}" if planned and not by_time and planned != iterations else ""
        found.append(Fact("Iterations", f"{iterations:,.0f}", note))
    seconds = run.facts.get("distill_seconds", run.metrics[-1].get("seconds") if run.metrics else None)
    if isinstance(seconds, (int, float)):
        each = f"{seconds / iterations:.3g} s per iteration" if iterations else ""
        found.append(Fact("Time to distil", duration(seconds), each))
    teachers = run.facts.get("teacher_seconds")
    if isinstance(teachers, (int, float)) and teachers > 0:
        found.append(Fact("Time to train teachers", duration(teachers), "once; later runs use the cache"))
    accuracies = run.facts.get("teacher_accuracies")
    if isinstance(accuracies, list) and accuracies:
        reach = f", {percent(min(accuracies))} to {percent(max(accuracies))}" if len(accuracies) > 1 else ""
        note = f"{counted(len(accuracies), 'teacher')} on the test split{reach}"
        found.append(Fact("Accuracy of teachers", f"{percent(fmean(accuracies))} %", note))
    memory = run.facts.get("distill_memory_mb")
    if isinstance(memory, (int, float)) and memory > 0:
        found.append(Fact("Memory of iterations", f"{memory:,.0f} MiB", "peak, without data and program"))
    if s is not None and s.soft_labels is not None:
        found.append(Fact("Storage with soft labels", f"{s.storage:.3g} per class", "labels counted as images"))
    return found


def variant_note(variant: str) -> str:
    """The variant of a method in a few words: many settings are counted, since the provenance lists all of them.

    >>> variant_note("gaussian,distill.factor=1")
    'gaussian, distill.factor=\u200b1'
    >>> variant_note("gaussian,distill.factor=1,distill.init=noise,distill.image_lr=0.03")
    'gaussian, 3 other settings, see Provenance'
    """
    parts = variant.split(",")
    settings = [part for part in parts if "=" in part]
    if len(settings) <= SHOWN_SETTINGS:
        return spaced(variant).replace("=", "=\u200b")  # where a narrow card may break the line
    names = [part for part in parts if "=" not in part]
    return ", ".join([*names, f"{len(settings)} other settings, see Provenance"])


def reproduce_command(run: RunFolder) -> str:
    """The command that reproduces the run, from its settings; "" if they are not known."""
    if run.config is None or run.data is None or run.ipc is None:
        return ""
    own, candidates = dotted(run.config), []
    for recipe in _bases(run.data, run.ipc):
        try:
            base = dotted(resolve_config(run.data, run.ipc, recipe, None, None))
        except NcfmError:
            continue
        changed = {k: v for k, v in own.items() if v != base.get(k) and not k.startswith("machine.")}
        # "none" is an augmentation strategy: that of a recipe cannot be unset, only avoided without the recipe.
        if not any(value is None and key.endswith("augment") for key, value in changed.items()):
            candidates.append((["--recipe", recipe] if recipe else [], changed))
    if not candidates:
        return ""
    words, changed = min(candidates, key=lambda candidate: len(candidate[1]))
    seed = changed.pop("seed", None)
    words = ["ncfm", "distill", run.data, "--ipc", str(run.ipc), *words]
    words += [] if seed is None else ["--seed", str(seed)]
    for key, value in changed.items():
        words += ["--set", f"{key}={setting_text(value)}"]
    return shlex.join(words)


def _bases(data: str, ipc: int) -> list[str | None]:
    """The recipes from which a command may start; None for the one that it takes if none is named.

    Without a recipe for these data and images per class a command chooses settings, which are written out instead.
    """
    if fitting_recipe(data, ipc) is not None:
        return [None, "none"]
    near = nearest_recipe(data, ipc)
    return ["none"] if near is None else [near, "none"]


def provenance(run: RunFolder) -> list[Fact]:
    """Code, versions, machine, seed and hashes of the run."""
    facts = run.facts
    found = [
        Fact("Code", str(facts["code"])) if facts.get("code") else None,
        Fact("Device", str(facts["device"])) if facts.get("device") else None,
        Fact("Seed", str(run.config.seed)) if run.config is not None else None,
        Fact("Hash of the images", run.images_hash) if run.images_hash else None,
        Fact("Hash of the real data", str(facts["data_fingerprint"])) if facts.get("data_fingerprint") else None,
    ]
    versions = facts.get("versions")
    if isinstance(versions, dict):
        found.append(Fact("Versions", ", ".join(f"{name} {value}" for name, value in versions.items())))
    problems = facts.get("data_problems")
    if isinstance(problems, list) and problems:
        found.append(Fact("Problems of the data", "; ".join(map(str, problems))))
    return [fact for fact in found if fact is not None]
