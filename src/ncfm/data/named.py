"""Named datasets: where they are stored and which columns to read."""

from __future__ import annotations

from dataclasses import dataclass

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


CIFAR100_NAMES = ("cifar-100-python", "cifar-100-python.tar.gz")


@dataclass(frozen=True)
class NamedSet:
    """A named dataset."""

    hub: str  # owner/name on the Hugging Face hub
    image_column: str
    label_column: str
    folder: str  # below the data folder
    class_names: tuple[str, ...] | None = None  # where the files only number them
    image_size: int | None = None  # default; None: the images' own
    channels: int | None = 3  # default; None: by the images
    other_names: tuple[str, ...] = ()  # below the data folder, as torchvision and others call it
    other_folders: tuple[str, ...] = ()  # searched as well, such as the folder of a distribution's package
    configuration: str | None = None  # on the hub, where there are several
    training_images: int | None = None  # of the whole dataset


@dataclass(frozen=True)
class Subset:
    """Ten classes of ImageNet-1K by index, which is the position of the WordNet id in sorted order."""

    classes: tuple[tuple[int, str], ...]
    image_size: int = 128  # usual in dataset distillation
    channels: int = 3
    other_names: tuple[str, ...] = ()  # below the data folder, as fast.ai calls it
    training_images: int | None = None  # of all classes


NAMED_SETS = {
    "cifar10": NamedSet(
        "uoft-cs/cifar10",
        "img",
        "label",
        "cifar10",
        image_size=32,
        other_names=("cifar-10-batches-py", "cifar-10-python.tar.gz"),
        training_images=50_000,
    ),
    "cifar100": NamedSet(
        "uoft-cs/cifar100",
        "img",
        "fine_label",
        "cifar100",
        image_size=32,
        other_names=CIFAR100_NAMES,
        training_images=50_000,
    ),
    "cifar100-coarse": NamedSet(
        "uoft-cs/cifar100",
        "img",
        "coarse_label",
        "cifar100",
        image_size=32,
        other_names=CIFAR100_NAMES,
        training_images=50_000,
    ),
    "mnist": NamedSet(
        "ylecun/mnist",
        "image",
        "label",
        "mnist",
        class_names=tuple("0123456789"),
        image_size=28,
        channels=1,
        other_names=("MNIST",),
        training_images=60_000,
    ),
    "fashion-mnist": NamedSet(
        "zalando-datasets/fashion_mnist",
        "image",
        "label",
        "fashion-mnist",
        class_names=FASHION_CLASSES,
        image_size=28,
        channels=1,
        other_names=("FashionMNIST",),
        other_folders=("/usr/share/datasets/fashion-mnist",),  # Debian's dataset-fashion-mnist
        training_images=60_000,
    ),
    "svhn": NamedSet(
        "ufldl-stanford/svhn",
        "image",
        "label",
        "svhn",
        image_size=32,
        other_names=("SVHN",),
        configuration="cropped_digits",
        training_images=73_257,
    ),
    "tiny-imagenet": NamedSet(
        "zh-plus/tiny-imagenet",
        "image",
        "label",
        "tiny-imagenet",
        image_size=64,
        other_names=("tiny-imagenet-200", "tiny-imagenet-200.zip"),
        training_images=100_000,
    ),
    "imagenet-1k": NamedSet(
        "ILSVRC/imagenet-1k",
        "image",
        "label",
        "imagenet-1k",
        image_size=64,
        other_names=("ILSVRC",),
        training_images=1_281_167,
    ),
}

# The subsets of fast.ai (Imagenette, Imagewoof) and of Cazenavette et al. (CVPR 2022), by index and WordNet id.
SUBSETS = {
    "imagenette": Subset(
        (
            (0, "n01440764"),  # tench
            (217, "n02102040"),  # English springer
            (482, "n02979186"),  # cassette player
            (491, "n03000684"),  # chain saw
            (497, "n03028079"),  # church
            (566, "n03394916"),  # French horn
            (569, "n03417042"),  # garbage truck
            (571, "n03425413"),  # gas pump
            (574, "n03445777"),  # golf ball
            (701, "n03888257"),  # parachute
        ),
        other_names=("imagenette2-160", "imagenette2-320", "imagenette2"),
        training_images=9_469,
    ),
    "imagewoof": Subset(
        (
            (193, "n02096294"),  # Australian terrier
            (182, "n02093754"),  # Border terrier
            (258, "n02111889"),  # Samoyed
            (162, "n02088364"),  # beagle
            (155, "n02086240"),  # Shih-Tzu
            (167, "n02089973"),  # English foxhound
            (159, "n02087394"),  # Rhodesian ridgeback
            (273, "n02115641"),  # dingo
            (207, "n02099601"),  # golden retriever
            (229, "n02105641"),  # Old English sheepdog
        ),
        other_names=("imagewoof2-160", "imagewoof2-320", "imagewoof2"),
    ),
    "imagefruit": Subset(
        (
            (953, "n07753275"),  # pineapple
            (954, "n07753592"),  # banana
            (949, "n07745940"),  # strawberry
            (950, "n07747607"),  # orange
            (951, "n07749582"),  # lemon
            (957, "n07768694"),  # pomegranate
            (952, "n07753113"),  # fig
            (945, "n07720875"),  # bell pepper
            (943, "n07718472"),  # cucumber
            (948, "n07742313"),  # Granny Smith
        )
    ),
    "imagesquawk": Subset(
        (
            (84, "n01806143"),  # peacock
            (130, "n02007558"),  # flamingo
            (88, "n01818515"),  # macaw
            (144, "n02051845"),  # pelican
            (145, "n02056570"),  # king penguin
            (22, "n01614925"),  # bald eagle
            (96, "n01843383"),  # toucan
            (9, "n01518878"),  # ostrich
            (100, "n01860187"),  # black swan
            (89, "n01819313"),  # sulphur-crested cockatoo
        )
    ),
    "imagemeow": Subset(
        (
            (281, "n02123045"),  # tabby
            (282, "n02123159"),  # tiger cat
            (283, "n02123394"),  # Persian cat
            (284, "n02123597"),  # Siamese cat
            (285, "n02124075"),  # Egyptian cat
            (291, "n02129165"),  # lion
            (292, "n02129604"),  # tiger
            (290, "n02128925"),  # jaguar
            (289, "n02128757"),  # snow leopard
            (287, "n02127052"),  # lynx
        )
    ),
    "imageyellow": Subset(
        (
            (309, "n02206856"),  # bee
            (986, "n12057211"),  # yellow lady's slipper
            (954, "n07753592"),  # banana
            (951, "n07749582"),  # lemon
            (987, "n12144580"),  # corn
            (779, "n04146614"),  # school bus
            (599, "n03530642"),  # honeycomb
            (291, "n02129165"),  # lion
            (72, "n01773157"),  # black and gold garden spider
            (11, "n01531178"),  # goldfinch
        )
    ),
}


def whole_size(name: str) -> int | None:
    """Number of training images of a named dataset; None if it is not known."""
    found = SUBSETS.get(name) or NAMED_SETS.get(name)
    return None if found is None else found.training_images
