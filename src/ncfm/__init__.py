"""Dataset distillation by Neural Characteristic Function Matching.

import ncfm
result = ncfm.distill("digits", ipc=1)
images, labels = result.synthetic.decoded()
ncfm.evaluate(result.synthetic, "digits").accuracy_mean

Every name is imported at its first use. To load a set takes PyTorch, NumPy, Pillow and safetensors only.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ncfm._utils.checks import InputError, NcfmError, RunError
from ncfm._utils.version import __version__

if TYPE_CHECKING:
    from ncfm.data import ImageSet, images_of, load_images
    from ncfm.discrepancy import characteristic_function, gaussian_mmd, ncfd
    from ncfm.discrepancy.module import CharacteristicDiscrepancy
    from ncfm.discrepancy.two_sample import TwoSampleResult, two_sample_test
    from ncfm.distillation import DistillResult, Interrupted
    from ncfm.evaluation import EvaluationResult
    from ncfm.evaluation.continual import ContinualResult
    from ncfm.evaluation.search import SearchResult
    from ncfm.formats import export, push_to_hub
    from ncfm.synthetic.storage import load, save
    from ncfm.synthetic.synthetic_set import SyntheticSet
    from ncfm.workflows.compare import compare
    from ncfm.workflows.continual import continual
    from ncfm.workflows.describe import describe
    from ncfm.workflows.diagnose import diagnose
    from ncfm.workflows.distill import distill
    from ncfm.workflows.evaluate import evaluate
    from ncfm.workflows.ledger import ledger
    from ncfm.workflows.plan import Plan, plan
    from ncfm.workflows.pretrain import pretrain
    from ncfm.workflows.report import write_report
    from ncfm.workflows.reproduce import Reproduction, reproduce
    from ncfm.workflows.score import ScoreResult, score
    from ncfm.workflows.search import search

__all__ = [
    "CharacteristicDiscrepancy",
    "ContinualResult",
    "DistillResult",
    "EvaluationResult",
    "ImageSet",
    "InputError",
    "Interrupted",
    "NcfmError",
    "Plan",
    "Reproduction",
    "RunError",
    "ScoreResult",
    "SearchResult",
    "SyntheticSet",
    "TwoSampleResult",
    "__version__",
    "characteristic_function",
    "compare",
    "continual",
    "describe",
    "diagnose",
    "distill",
    "evaluate",
    "export",
    "gaussian_mmd",
    "images_of",
    "ledger",
    "load",
    "load_images",
    "ncfd",
    "plan",
    "pretrain",
    "push_to_hub",
    "reproduce",
    "save",
    "score",
    "search",
    "two_sample_test",
    "write_report",
]

_HOMES = {
    "ncfm.data": ("ImageSet", "images_of", "load_images"),
    "ncfm.discrepancy": ("characteristic_function", "gaussian_mmd", "ncfd"),
    "ncfm.discrepancy.module": ("CharacteristicDiscrepancy",),
    "ncfm.discrepancy.two_sample": ("TwoSampleResult", "two_sample_test"),
    "ncfm.distillation": ("DistillResult", "Interrupted"),
    "ncfm.evaluation": ("EvaluationResult",),
    "ncfm.evaluation.continual": ("ContinualResult",),
    "ncfm.evaluation.search": ("SearchResult",),
    "ncfm.formats": ("export", "push_to_hub"),
    "ncfm.synthetic.storage": ("load", "save"),
    "ncfm.synthetic.synthetic_set": ("SyntheticSet",),
    "ncfm.workflows.compare": ("compare",),
    "ncfm.workflows.continual": ("continual",),
    "ncfm.workflows.describe": ("describe",),
    "ncfm.workflows.diagnose": ("diagnose",),
    "ncfm.workflows.distill": ("distill",),
    "ncfm.workflows.evaluate": ("evaluate",),
    "ncfm.workflows.ledger": ("ledger",),
    "ncfm.workflows.plan": ("Plan", "plan"),
    "ncfm.workflows.pretrain": ("pretrain",),
    "ncfm.workflows.report": ("write_report",),
    "ncfm.workflows.reproduce": ("Reproduction", "reproduce"),
    "ncfm.workflows.score": ("ScoreResult", "score"),
    "ncfm.workflows.search": ("search",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        if name.startswith("__") or find_spec(f"ncfm.{name}") is None:
            raise AttributeError(f"module 'ncfm' has no attribute {name!r}")
        return import_module(f"ncfm.{name}")  # ncfm.networks and the like
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)  # looked up once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
