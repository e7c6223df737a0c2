"""Experts that are recorded in a second."""

from functools import partial

from ncfm.training.experts import record_experts
from ncfm.training.recipe import TrainingRecipe

RECIPE = TrainingRecipe(
    epochs=4, optimizer="sgd", lr=0.05, batch_size=16, schedule="constant", momentum=0.0, weight_decay=0.0
)


def recorder(images, cache):
    """`record_experts` with few and small experts; its arguments can be changed."""
    return partial(record_experts, images, network="convnet1w8", num_experts=2, recipe=RECIPE, cache=cache)
