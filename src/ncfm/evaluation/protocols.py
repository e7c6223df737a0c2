"""Evaluation protocols by name: training recipe of students and number of test evaluations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ncfm._utils.checks import check_known
from ncfm.training.recipe import TrainingRecipe

STUDENT_AUGMENT = "color_crop_flip_scale_rotate"
NCFM_AUGMENT = "dsa:color_flip_crop|scale|rotate"  # cutout gives way to CutMix
DSA_AUGMENT = "dsa:color|crop|cutout|flip|scale|rotate"


MOST_RUNS = 10_000  # students of an evaluation: the interval of the mean is a fiftieth of their spread


@dataclass(frozen=True)
class Protocol:
    """A fixed recipe. Results under one name are comparable; a changed recipe gets a new name."""

    name: str
    recipe: TrainingRecipe
    num_runs: int  # students, each with new weights and its own random streams
    looks: int  # test evaluations at equal intervals during training; the last one is the result


PROTOCOLS = {
    p.name: p
    for p in (
        # For a laptop: a fifth of the paper's epochs, smaller batches, a cosine schedule.
        Protocol(
            "quick",
            TrainingRecipe(
                epochs=400,
                optimizer="adamw",
                lr=1e-3,
                batch_size=64,
                schedule="cosine",
                augment=STUDENT_AUGMENT,
                cutmix_probability=0.5,
            ),
            num_runs=3,
            looks=1,
        ),
        # For large networks on a small machine: few epochs of many small steps. Chosen from a dozen recipes on a part
        # of CIFAR-10's training split, with VGG-11 and the ConvNet.
        Protocol(
            "brief",
            TrainingRecipe(
                epochs=20, optimizer="adamw", lr=1e-3, batch_size=16, schedule="one-cycle", augment=STUDENT_AUGMENT
            ),
            num_runs=3,
            looks=1,
        ),
        # Wang et al., "Dataset Distillation with Neural Characteristic Function: A Minmax Perspective", CVPR 2025, as
        # published (gszfwsb/NCFM, condenser/evaluate.py, config/ipc10/cifar10.yaml): AdamW 1e-3 with PyTorch's weight
        # decay of 0.01, batches of 128 with the last one kept, 2000 epochs, halved at each fifth; colour and flip of
        # every image, and one of crop, scale and rotate a batch; CutMix in half of the batches; 20 looks.
        Protocol(
            "ncfm-2025-v2",
            TrainingRecipe(
                epochs=2000,
                optimizer="adamw",
                lr=1e-3,
                batch_size=128,
                schedule="fifths",
                augment=NCFM_AUGMENT,
                cutmix_probability=0.5,
                weight_decay=0.01,
                keep_last=True,
            ),
            num_runs=10,
            looks=20,
        ),
        # Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021, as published
        # (VICO-UoE/DatasetCondensation, utils.py: evaluate_synset, ParamDiffAug): SGD 0.01 with momentum 0.9 and weight
        # decay 5e-4, a tenth of the rate from the middle on, batches of 256 with the last one kept, 1000 epochs, one of
        # six operations a batch. That loop runs one epoch more, and clears the momentum when the rate falls.
        Protocol(
            "dsa-2021",
            TrainingRecipe(
                epochs=1000,
                optimizer="heavy-ball",
                lr=0.01,
                batch_size=256,
                schedule="half",
                augment=DSA_AUGMENT,
                keep_last=True,
            ),
            num_runs=5,
            looks=1,
        ),
        # Zhang et al., "DANCE: Dual-View Distribution Alignment for Dataset Condensation", IJCAI 2024, as published
        # (Hansong-Zhang/DANCE). SGD 0.01 with momentum 0.9, weight decay 5e-4 and batches of 64, all of them kept
        # (arguments/arg_condense.py, data.py: MultiEpochsDataLoader); 1500 epochs, tested every 250
        # (arg_condense.py: epochs, epoch_eval_interval); 0.2 of the rate from 2/3 on and 0.04 from 5/6 on (train.py);
        # colour and flip of every image, and one of crop, scale and rotate a batch (arg_condense.py: cutout gives way
        # to CutMix; misc/augment.py: single_aug); CutMix in half of the batches. That is IDC's evaluator, too.
        # Normalised by the mean of the images' deviations: data.deviation=images.
        Protocol(
            "dance-2024",
            TrainingRecipe(
                epochs=1500,
                optimizer="heavy-ball",
                lr=0.01,
                batch_size=64,
                schedule="step",
                augment=NCFM_AUGMENT,
                cutmix_probability=0.5,
                keep_last=True,
            ),
            num_runs=3,
            looks=6,
        ),
        # The two under which earlier rows were made: all operations are composed on every image, and the last batch is
        # dropped. Kept so that these rows can be made again.
        Protocol(
            "ncfm-2025",
            TrainingRecipe(
                epochs=2000,
                optimizer="adamw",
                lr=1e-3,
                batch_size=128,
                schedule="fifths",
                augment=STUDENT_AUGMENT,
                cutmix_probability=0.5,
            ),
            num_runs=10,
            looks=20,
        ),
        Protocol(
            "dc-2021",
            TrainingRecipe(
                epochs=1000,
                optimizer="heavy-ball",
                lr=0.01,
                batch_size=256,
                schedule="half",
                augment="color_crop_cutout_flip_scale_rotate",
            ),
            num_runs=5,
            looks=1,
        ),
    )
}


def get_protocol(
    name: str,
    *,
    epochs: int | None = None,
    augment: str | None = None,
    num_runs: int | None = None,
    looks: int | None = None,
    labels: str = "hard",
) -> Protocol:
    """A protocol by name; changes of the recipe are part of the name, such as ``quick@epochs=100``.

    Args:
        name: of `PROTOCOLS`.
        epochs, augment, num_runs, looks: instead of the protocol's.
        labels: training targets of students; other than hard labels they are part of the name.

    Raises:
        NcfmError: for an unknown name (with the nearest known one).
    """
    protocol = PROTOCOLS[check_known(name, PROTOCOLS, "protocol")]
    wanted = {"epochs": epochs, "augment": augment}
    changes: dict[str, Any] = {
        key: value for key, value in wanted.items() if value is not None and value != getattr(protocol.recipe, key)
    }
    named = changes if labels == "hard" else changes | {"labels": labels}
    suffix = ",".join(f"{key}={value}" for key, value in named.items())
    return replace(
        protocol,
        name=f"{name}@{suffix}" if suffix else name,
        recipe=replace(protocol.recipe, **changes),
        num_runs=protocol.num_runs if num_runs is None else num_runs,
        looks=protocol.looks if looks is None else looks,
    )
