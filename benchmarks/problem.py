"""The problems that the benchmarks time."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
import torch

from ncfm._utils.seeding import generator
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.config.methods import METHODS
from ncfm.config.schema import RunConfig
from ncfm.data import images_of, load_images, store
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.training.teachers import TeacherPool, untrained_pool

FOREVER = 10**9  # iterations: the clock stops them  # iterations: the clock stops them


@dataclass(frozen=True)
class Problem:
    """One point of a benchmark."""

    dataset: str = "cifar10"  # or "random": images of noise, for any size and number of classes; or "large"
    ipc: int = 10
    real_batch_per_class: int = 64
    num_frequencies: int = 1024
    image_size: int = 32
    num_classes: int = 10
    width: int = 128
    factor: int = 2
    device: str = "auto"
    gradient_chunk_size: int | None = None
    images_per_class: int = 300  # of "large"
    held: bool = True  # "large" in memory; else in a mapped file
    student_steps: int = 8  # of trajectory matching
    student_batch_size: int = 100  # at most
    differentiation: str = "replayed"
    precision: str = "auto"
    compiling: str = "auto"
    method: str = "ncfm"  # of `METHODS`; its number of frequencies is the problem's own
    per_teacher: bool = False  # a sampler for each teacher

    def config(self) -> RunConfig:
        """As a run's configuration."""
        return make_config(
            nest(
                {
                    **METHODS[self.method].settings,
                    "teachers.network": f"convnetw{self.width}",
                    "distill.factor": self.factor,
                    "distill.real_batch_per_class": self.real_batch_per_class,
                    "distill.iterations": FOREVER,
                    "distill.image_schedule": "constant",
                    "frequencies.number": self.num_frequencies,
                    "frequencies.per_teacher": self.per_teacher,
                    "machine.device": self.device,
                    "machine.gradient_chunk_size": self.gradient_chunk_size,
                    "machine.precision": self.precision,
                    "machine.compile": self.compiling,
                }
            )
        )

    def images(self) -> ImageSet:
        """The real set; of noise, as many as two batches and the start need."""
        if self.dataset == "large":
            store.HELD_BYTES = 2**62 if self.held else 0
            return images_of(ManyImages(self.num_classes, self.images_per_class, self.image_size))
        if self.dataset != "random":
            return load_images(self.dataset)
        count = max(2 * self.real_batch_per_class, self.ipc * self.factor**2)
        shape = (self.num_classes * count, 3, self.image_size, self.image_size)
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(0, "pixels"))
        labels = torch.arange(self.num_classes).repeat_interleave(count)
        names = tuple(str(i) for i in range(self.num_classes))
        return ImageSet("random", ImageSplit.of(pixels, labels, self.num_classes), None, names)

    def pool(self, images: ImageSet, device: torch.device, compile_networks: bool) -> TeacherPool:
        """Two teachers of random weights: training them would not change what an iteration costs."""
        return untrained_pool(
            images, self.config().teachers.network, number=2, device=device, compile_networks=compile_networks
        )


class ManyImages(torch.utils.data.Dataset):
    """Images of noise around a colour of their class, made from their number: as many as anybody wants."""

    def __init__(self, num_classes: int, per_class: int, side: int) -> None:
        self.num_classes, self.count, self.shape = num_classes, num_classes * per_class, (side, side, 3)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        label = index % self.num_classes
        noise = np.frombuffer(random.Random(index).randbytes(math.prod(self.shape)), np.uint8).reshape(self.shape)
        colour = np.array([label % 10, label // 10 % 10, label // 100], dtype=np.uint8) * np.uint8(20)
        return noise // 4 + colour, label
