"""Words and numbers in the cells of tables."""

from __future__ import annotations

from collections.abc import Mapping

# Rows keep the words of the version that wrote them; these are the words of today.
LABELS = {
    "two at once": "two processes at once",
    "short of memory": "too little memory",
    "file cut": "file truncated",
    "record cut": "record truncated",
    "two moves of each player": "two steps of each player",
    "dsdm (a memory)": "dsdm (stateful)",
    "set": "distilled dataset",
    "film": "snapshots",
    "state": "checkpoint",
    "student": "cached evaluation network",
    "training under way": "interrupted training",
    "torch data set": "torch dataset",
}


def label(words: str) -> str:
    """The words of a row in today's terms; ``, guided`` and the like stay behind them."""
    name, comma, rest = words.partition(", ")
    external = name.startswith("foreign ")
    name = f"external {name.removeprefix('foreign ')}" if external else LABELS.get(name, name)
    return name + comma + rest


def whole(text: str) -> str:
    """A number of a row without decimals; - for an empty cell."""
    return f"{float(text):.0f}" if text else "-"


NAMES = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "digits": "Digits",
    "fashion-mnist": "Fashion-MNIST",
    "imagenette": "Imagenette",
    "tiny-imagenet": "Tiny ImageNet",
}


def data_name(data: str) -> str:
    """The name of a dataset for people."""
    return NAMES.get(data, data)


def mean_percent(row: Mapping[str, str]) -> str:
    """The accuracy of a row in percent, alone."""
    return f"{100 * float(row['accuracy_mean']):.1f}"
