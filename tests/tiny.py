"""Tiny problems on which whole runs take a second: a few digits, a pool that was never trained, short settings."""

import dataclasses

import torch

from ncfm._utils.compute import Compute
from ncfm._utils.seeding import Streams
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.discrepancy.frequencies import ScaleMixtureFrequencies
from ncfm.distillation import MinMaxStep, Player
from ncfm.distillation import distill as whole_loop
from ncfm.distillation.budget import Budget
from ncfm.distillation.control import RunControl
from ncfm.distillation.objectives import CharacteristicMatching
from ncfm.distillation.options import Extraction, Matching, Trajectories
from ncfm.evaluation import Protocol
from ncfm.networks import create_network
from ncfm.results.rows import AccuracyRow
from ncfm.synthetic.formation import Formation
from ncfm.synthetic.initialization import Start, start_images
from ncfm.training.recipe import TrainingRecipe
from ncfm.training.teachers import Teacher, TeacherPool
from strategies import rng

NETWORK = "convnet1w8"  # one block of 8 channels: 128 features of an 8-pixel image
WIDTH = 128
DSA = "color_crop_cutout_flip_scale_rotate"

# A run of the front functions and of the commands in about a second.
SETTINGS = {
    "teachers.network": NETWORK,
    "teachers.number": 1,
    "teachers.epochs": 1,
    "frequencies.number": 32,
    "distill.iterations": 2,
    "distill.real_batch_per_class": 4,
    "evaluate.network": NETWORK,
    "evaluate.runs": 2,
    "evaluate.epochs": 2,
}


def few(digits, n=8):
    """The first n training images of every class, with the whole test split."""
    picked = (digits.train.offsets[:, None] + torch.arange(n)).flatten()
    train = ImageSplit.of(digits.train.images[picked], digits.train.labels[picked], 10)
    return ImageSet("few digits", train, digits.test, digits.class_names)


def random_pool(images, number=2, network=NETWORK):
    """Teachers whose "trained" weights are just other random ones: nothing here needs them to be good."""

    def weights(seed):
        return make(seed).state_dict()

    def make(seed=0):
        return create_network(network, channels=1, num_classes=10, image_size=images.image_size, seed=seed)

    teachers = [Teacher(weights(2 * i), weights(2 * i + 1), seconds=0.5) for i in range(number)]
    return TeacherPool(teachers, make, statistics=images.statistics, device=torch.device("cpu"))


def mixture(num_frequencies=64, seed=0, **options):
    """The default objective; its sampler is the adversary."""
    return CharacteristicMatching(ScaleMixtureFrequencies(WIDTH, num_frequencies, seed_generator=rng(seed)), **options)


GROUPS = {
    "formation": Formation,
    "start": Start,
    "matching": Matching,
    "extraction": Extraction,
    "budget": Budget,
    "compute": Compute,
    "control": RunControl,
    "options": Trajectories,
}


def grouped(*names, **flat):
    """Flat settings as options objects: those of ``names`` by name, and what is left of the settings as it is.

    Losses are by hand at weight 1, so that is the weight here.
    """
    flat = {"matching_weight": 1.0, **flat} if "matching" in names else flat
    made = {}
    for name in names:
        own = {field.name for field in dataclasses.fields(GROUPS[name])} & flat.keys()
        made[name] = GROUPS[name](**{key: flat[key] for key in own})
        flat = {key: value for key, value in flat.items() if key not in own}
    return made | flat


def distill(images, pool, objective, **flat):
    """`ncfm.distillation.distill` with flat settings."""
    names = ("formation", "start", "matching", "extraction", "budget", "compute", "control")
    return whole_loop(images, pool, objective, **grouped(*names, **flat))


def make_step(images, pool, *, seed=0, ipc=1, lr=0.01, player=Player, objective=None, factor=1, mode="single", **more):
    """A step whose two players are built as the loop builds them; ``player`` may be a kind that records."""
    objective = mixture() if objective is None else objective
    streams = Streams(seed)
    pixels = start_images(images, ipc=ipc, factor=factor, init="mosaic", generator=streams["init"]).requires_grad_()
    adversary = None
    if objective.adversary is not None:
        tensors = list(objective.adversary.parameters())
        adversary = player(tensors, torch.optim.Adam(tensors, lr=1e-3, maximize=True))
    flat = {"real_batch_per_class": 4, "factor": factor, "mode": mode} | more
    return MinMaxStep(
        images.train,
        player([pixels], torch.optim.Adam([pixels], lr=lr)),
        adversary,
        objective=objective,
        pool=pool,
        streams=streams,
        **grouped("formation", "matching", "extraction", "compute", **flat),
    )


class Recorder(Player):
    """A player that notes its gradients, move by move; ``frozen`` ones stay where they are."""

    frozen = False

    def __init__(self, tensors, optimizer):
        super().__init__(tensors, optimizer)
        self.gradients = []

    def update(self, gradients):
        self.gradients.append([g.clone() for g in gradients])
        if not self.frozen:
            super().update(gradients)


class Frozen(Recorder):
    """Notes its gradients and does not move."""

    frozen = True


# --- evaluation ---------------------------------------------------------------------------------------------

CPU = torch.device("cpu")
RECIPE = TrainingRecipe(epochs=3, optimizer="adamw", lr=0.01, batch_size=32, schedule="cosine", augment="crop_scale")
PROTOCOL = Protocol("tiny", RECIPE, num_runs=2, looks=1)


def changed(protocol=PROTOCOL, num_runs=None, looks=None, **recipe):
    named = {k: v for k, v in {"num_runs": num_runs, "looks": looks}.items() if v is not None}
    return dataclasses.replace(protocol, recipe=dataclasses.replace(protocol.recipe, **recipe), **named)


# --- results ------------------------------------------------------------------------------------------------

ROW = AccuracyRow(
    dataset="digits",
    ipc=1,
    method="ncfm",
    variant="",
    network="convnet",
    protocol="quick",
    accuracy_mean=0.91234,
    accuracy_std=0.0123,
    accuracy_low=0.88,
    accuracy_high=0.94,
    accuracy_best_mean=None,
    num_runs=3,
    teacher_seconds=12.4,
    distill_seconds=99.6,
    iterations=1000,
    distill_memory_mb=321.0,
    storage=10.26,
    evaluate_seconds=8.0,
    peak_memory_mb=512.0,
    device="CPU, of some kind",
    threads=2,
    seed=0,
    command='ncfm compare digits --set "a=b"',
    commit="abc",
    date="2025-01-31",
)
