"""Dataset distillation by Neural Characteristic Function Matching.

import ncfm
result = ncfm.distill("digits", ipc=1)
images, labels = result.synthetic.decoded()
ncfm.evaluate(result.synthetic, "digits").accuracy_mean
"""

from ncfm._checks import NcfmError
from ncfm.api import distill, evaluate, load, pretrain
from ncfm.comparison import compare
from ncfm.data import ImageSet, images_of, load_images
from ncfm.discrepancy import characteristic_function, gaussian_mmd, ncfd
from ncfm.distillation import DistillResult, Interrupted
from ncfm.evaluation import EvaluationResult
from ncfm.metric import CharacteristicDiscrepancy
from ncfm.synthetic import SyntheticSet
from ncfm.two_sample import TwoSampleResult, two_sample_test

__version__ = "0.1.0"

__all__ = [
    "CharacteristicDiscrepancy",
    "DistillResult",
    "EvaluationResult",
    "ImageSet",
    "Interrupted",
    "NcfmError",
    "SyntheticSet",
    "TwoSampleResult",
    "characteristic_function",
    "compare",
    "distill",
    "evaluate",
    "gaussian_mmd",
    "images_of",
    "load",
    "load_images",
    "ncfd",
    "pretrain",
    "two_sample_test",
]
