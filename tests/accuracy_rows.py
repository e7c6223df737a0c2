"""Accuracy rows for tests of tables, as they are read from a file."""


def row(dataset, ipc, method, accuracy, variant="", training_images="", network="convnet"):
    return {
        "dataset": dataset,
        "ipc": ipc,
        "method": method,
        "variant": variant,
        "network": network,
        "accuracy_mean": str(accuracy),
        "accuracy_std": "0.01",
        "accuracy_low": "0.1",
        "accuracy_high": "0.9",
        "num_runs": "3",
        "protocol": "quick",
        "training_images": training_images,
    }


ROWS = [
    row("digits", "1", "ncfm", 0.9),
    row("cifar10", "10", "random", 0.35, training_images="50000"),
    row("cifar10", "10", "ncfm", 0.66, training_images="50000"),
    row("cifar10", "10", "ncfm", 0.67, "gaussian", training_images="50000"),
    row("cifar10", "10", "herding", 0.38, training_images="50000"),
    row("cifar10", "2", "ncfm", 0.5),
    row("imagenette", "1", "ncfm", 0.4, training_images="1400"),
]
