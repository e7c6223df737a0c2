"""Values that a shell completes: ``ncfm distill cif<TAB>``. Where none of them fits, the shell completes paths.

Names of code that imports PyTorch are repeated here, since a completion must come at once. A test compares them.
"""

from __future__ import annotations

from pathlib import Path

DATASETS = (
    *("digits", "cifar10", "cifar100", "cifar100-coarse", "mnist", "fashion-mnist", "svhn", "tiny-imagenet"),
    *("imagenet-1k", "imagenette", "imagewoof", "imagefruit", "imagesquawk", "imagemeow", "imageyellow"),
)
FORMATS = ("ncfm", "hf", "parquet", "png", "npz", "pt", "ddranking")
TABLES = ("latex", "markdown")


def datasets(incomplete: str) -> list[str]:
    """Named datasets that begin with what is typed."""
    return _beginning(DATASETS, incomplete)


def recipes(incomplete: str) -> list[str]:
    """Recipes of the package that begin with what is typed."""
    files = Path(__file__).parents[1] / "config" / "recipe_files"
    return _beginning(("none", *sorted(path.stem for path in files.glob("*.toml"))), incomplete)


def formats(incomplete: str) -> list[str]:
    """Formats of exports that begin with what is typed."""
    return _beginning(FORMATS, incomplete)


def tables(incomplete: str) -> list[str]:
    """Forms of tables that begin with what is typed."""
    return _beginning(TABLES, incomplete)


def _beginning(names: tuple[str, ...], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
