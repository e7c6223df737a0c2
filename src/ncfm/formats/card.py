"""Dataset cards: description, provenance, evaluations, and how to load the set.

Names of classes, data and files are user input. They are escaped, so that none is read as Markdown, HTML or YAML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ncfm._utils.progress import counted
from ncfm._utils.version import __version__
from ncfm.data.channels import in_words
from ncfm.data.named import NAMED_SETS, SUBSETS
from ncfm.formats.content import Content
from ncfm.results.formatting import interval_of, mean_of
from ncfm.synthetic.counts import in_short
from ncfm.synthetic.folders import SET_FOLDER
from ncfm.training.teacher_accuracy import teachers_in_words

_IMAGENET = "ImageNet's terms of access allow non-commercial research and education only."
_CIFAR = (
    "Its authors name no licence; they ask that Krizhevsky, "
    '"Learning Multiple Layers of Features from Tiny Images", 2009, be cited.'
)
LICENCES = {  # of the source data: the hub's identifier, and a note
    "digits": ("cc-by-4.0", "The UCI Machine Learning Repository gives the source data under CC BY 4.0."),
    "fashion-mnist": ("mit", "The source data are under the MIT licence, copyright 2017 Zalando SE."),
    **dict.fromkeys(("cifar10", "cifar100", "cifar100-coarse"), ("unknown", _CIFAR)),
    **dict.fromkeys(("imagenet-1k", "tiny-imagenet", *SUBSETS), ("unknown", _IMAGENET)),
}
_PAPER = (
    'Method: Wang et al., "Dataset Distillation with Neural Characteristic Function: A Minmax Perspective", '
    "CVPR 2025, arXiv 2502.20653."
)
SHOWN = 20  # class names listed
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def dataset_card(content: Content) -> str:
    """README.md of a Hugging Face dataset: YAML for the hub, then text."""
    synthetic, facts = content.synthetic, content.synthetic.facts
    data = source_name(facts)
    count, classes = len(content.images), synthetic.num_classes
    kind = "stored mosaics" if content.stored and synthetic.decoded_ipc > synthetic.ipc else "training images"
    parts = [
        _front_matter(facts, data, count),
        f"# {escape(data)}, distilled\n\n{count} synthetic {kind} of {counted(classes, 'class')} that replace "
        f"{escape(data)} in training, made by dataset distillation with ncfm.",
        _loading(content),
    ]
    return _joined(*parts, *_facts(content, data))


def set_card(content: Content) -> str:
    """README.md of a folder for `ncfm.load`: description, loading and evaluation."""
    synthetic = content.synthetic
    data = source_name(synthetic.facts)
    loading = 'import ncfm\n\nsynthetic = ncfm.load(".")\nimages, labels = synthetic.decoded()  # to train on'
    parts = [
        f"# {escape(data)}, distilled\n\nSynthetic images ({synthetic.ipc} stored for each of {synthetic.num_classes} "
        f"classes, {content.bits} bits per value) that replace {escape(data)} in training, made by dataset "
        "distillation with ncfm.",
        "![Images of the set, one row per class](images.png)",
        f"```python\n{loading}\n```",
        "`ncfm evaluate .` trains fresh networks on it and tests them on real images.",
    ]
    return _joined(*parts, *_facts(content, data))


def _facts(content: Content, data: str) -> list[str]:
    """The sections that every card has."""
    synthetic, facts = content.synthetic, content.synthetic.facts
    return [
        "## Provenance\n\n" + markdown_table(("", ""), _origin(content, data)),
        "## Evaluations\n\n" + _scores(synthetic.scores, data),
        _recipe(facts),
        f"## Licence\n\n{licence(facts)[1]}",
        _PAPER if facts.get("method") == "ncfm" else "",
    ]


def _joined(*parts: str) -> str:
    return "\n\n".join(filter(None, parts)) + "\n"


def source_name(facts: Mapping[str, Any]) -> str:
    """Name of the source data of a set; for a path, its last part."""
    data = str(facts.get("data") or "unknown data")
    return data if data.startswith("hf:") else Path(data).name or data


def escape(text: object) -> str:
    """Text on one line that Markdown renders literally."""
    line = " ".join(_printable(str(text)).split())
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~&$:@])", r"\\\1", line)


def _front_matter(facts: Mapping[str, Any], data: str, count: int) -> str:
    """Metadata for the hub; texts are JSON strings, which are also YAML."""
    named = NAMED_SETS.get("imagenet-1k" if data in SUBSETS else data)
    size = next((name for limit, name in SIZES if count < limit), "1M<n<10M")
    lines = [
        f"pretty_name: {_quoted(f'{data}, distilled')}",
        f"license: {licence(facts)[0]}",
        "task_categories:\n- image-classification",
        "tags:\n- dataset-distillation\n- synthetic\n- ncfm",
        f"size_categories:\n- {size}",
        "" if named is None else f"source_datasets:\n- {_quoted(named.hub)}",
        "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*",
    ]
    return "---\n" + "\n".join(filter(None, lines)) + "\n---"


def _quoted(text: str) -> str:
    return json.dumps(_printable(text), ensure_ascii=False)


def _printable(text: str) -> str:
    """Text without unprintable characters, which YAML does not accept."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def licence(facts: Mapping[str, Any]) -> tuple[str, str]:
    """Licence of the source data that the facts name: the hub's identifier, and a note."""
    unknown = ("unknown", "Not known to ncfm: the terms of the source data apply.")
    return LICENCES.get(str(facts.get("data")), unknown)


def _loading(content: Content) -> str:
    soft = (
        " `probabilities` are the soft labels, in the order of the classes."
        if content.log_probabilities is not None
        else ""
    )
    place = content.repository or "."
    return (
        "```python\nfrom datasets import load_dataset\n\n"
        f'data = load_dataset("{place}", split="train")\nimage, label = data[0]["image"], data[0]["label"]\n```\n\n'
        f'Images are 8-bit, class by class; `data.features["label"].names` are the classes.{soft}\n\n'
        f'`ncfm.load("{f"hf:{place}" if content.repository else place}")` reads the set itself from '
        f"`{SET_FOLDER}/`: the stored images, how they are decoded, and its scores."
    )


def _origin(content: Content, data: str) -> Iterable[tuple[str, str]]:
    synthetic, facts = content.synthetic, content.synthetic.facts
    statistics = synthetic.statistics
    side, channels = synthetic.images.shape[-1], synthetic.images.shape[2]
    decoded = in_short(synthetic.decoded_counts)
    decoding = f"{synthetic.mode}, factor {synthetic.factor}: {decoded} per class for training"
    names = content.class_names
    yield "source data", escape(data)
    yield "classes", ", ".join(map(escape, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
    yield "fingerprint of the training split", escape(facts.get("data_fingerprint", "not recorded"))
    yield "method", escape(" ".join(filter(None, [str(facts.get("method", "unknown")), facts.get("variant")])))
    yield "images", f"{in_short(synthetic.stored_counts)} stored per class, {side} px, {in_words(channels)}"
    yield "decoding", decoding
    yield "mean of the training split", ", ".join(f"{v:.4f}" for v in statistics.mean)
    yield "standard deviation of the training split", ", ".join(f"{v:.4f}" for v in statistics.std)
    yield from _teachers(facts)
    yield "seed", escape(facts.get("config", {}).get("seed", "not recorded"))
    yield "command", escape(facts.get("command", "not recorded"))
    yield "commit of ncfm", escape(facts.get("code", "not recorded"))
    yield "exported by", f"ncfm {__version__}"


def _teachers(facts: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """The accuracy of the teachers, if the set records it."""
    found = facts.get("teacher_accuracies")
    if isinstance(found, list) and found:
        yield "teachers", teachers_in_words(found)


def _scores(scores: Sequence[Mapping[str, Any]], data: str) -> str:
    """A table of the evaluations, with the data that they used."""
    if not scores:
        return "Not evaluated yet: `ncfm evaluate` trains fresh networks on it and tests them on real images."
    rows = []
    for entry in scores:
        low, high = entry.get("accuracy_low"), entry.get("accuracy_high")
        accuracy = mean_of(entry["accuracy_mean"], entry["accuracy_std"], low)
        tested_on = source_name({"data": entry.get("data", data)})
        cells = (escape(tested_on), escape(entry["network"]), escape(entry["protocol"]))
        rows.append((*cells, accuracy, interval_of(low, high), str(len(entry["accuracies"]))))
    heads = ("evaluated on", "network", "protocol", "accuracy %", "95 % interval", "networks trained")
    return (
        markdown_table(heads, rows)
        + "\n\nAccuracy on the real test split after the last epoch of networks trained on the decoded "
        "images alone, before rounding to 8 bits: mean ± standard deviation."
    )


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, of cells that are escaped already."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _recipe(facts: Mapping[str, Any]) -> str:
    """The whole configuration, in a code fence longer than any within it."""
    if not facts.get("config"):
        return ""
    text = _printable(json.dumps(facts["config"], indent=1, ensure_ascii=False))
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"## Recipe\n\n{fence}json\n{text}\n{fence}"
