"""The sizes of an iteration's passes, and how they are halved."""

from ncfm.distillation.step_memory import halve_passes


def test_passes_are_halved_down_to_single_images(make):
    played = make(ipc=2, chunk_size=3)  # 20 images, all in one pass with gradient
    sizes = []
    while halve_passes(played.synthetic):
        sizes.append((played.images_per_pass, played.extract.chunk_size))
    assert sizes == [(10, 1), (5, 1), (2, 1), (1, 1)]
