"""Pools of teachers in folders: the bits that were written, what does not fit is refused, what differs is said."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from ncfm._utils.checks import InputError, NcfmError, RunError
from ncfm._utils.compute import Compute
from ncfm.config.build import build_targets
from ncfm.config.layers import make_config
from ncfm.data.image_set import to_float
from ncfm.data.normalization import normalize
from ncfm.training.pool_files import (
    FACTS_FILE,
    WEIGHTS_FILE,
    PoolFacts,
    in_16_bits,
    read_facts,
    read_pool,
    write_teachers,
)
from ncfm.training.teachers import Teacher, TeacherPool, network_for
from tiny import NETWORK, few, random_pool


def facts_of(images, pool, network=NETWORK, **changes):
    known = PoolFacts(
        data=images.name,
        fingerprint=images.fingerprint,
        class_names=images.class_names,
        channels=images.channels,
        image_size=images.image_size,
        mean=pool.statistics.mean,
        std=pool.statistics.std,
        whitened=images.whitened,
        training={"network": network, "number": len(pool)},
        seconds=pool.seconds,
        accuracies=(0.5, 0.625),
        provenance={"command": "ncfm pretrain"},
    )
    return dataclasses.replace(known, **changes)


@pytest.fixture
def written(images, tmp_path):
    """A folder of two teachers, and what was written."""
    pool = random_pool(images)
    teachers = in_16_bits(pool)
    write_teachers(tmp_path, teachers, facts_of(images, pool))
    return tmp_path, teachers


def read(folder, images, network=NETWORK):
    return read_pool(folder, images, network=network, compute=Compute())


def test_reading_gives_the_bits_that_were_written(written, images):
    folder, teachers = written
    pool = read(folder, images)
    assert len(pool) == 2
    for index, teacher in enumerate(teachers):
        for found, stored in zip(pool.weights(index), (teacher.initial, teacher.trained), strict=True):
            assert found.keys() == stored.keys()
            assert all(torch.equal(found[name], stored[name].float()) for name in stored)
            assert all(found[name].dtype == torch.float32 for name in found)


def test_weights_are_rounded_to_16_bits(images):
    pool = random_pool(images, number=1)
    exact, stored = pool.weights(0)[1], in_16_bits(pool)[0].trained
    for name, value in exact.items():
        assert stored[name].dtype == torch.float16
        assert ((stored[name].float() - value).abs() <= value.abs() * 2**-11 + 2**-25).all()
    # Two states a teacher, two bytes a weight.
    assert sum(v.numel() * v.element_size() for v in stored.values()) == 2 * sum(v.numel() for v in exact.values())


def test_values_beyond_16_bits_and_counters_stay_as_they_are(images):
    network = network_for(images, "convnet1w8-batch", seed=0)
    network.state_dict()["blocks.1.running_var"].fill_(1e6)
    network.state_dict()["blocks.1.num_batches_tracked"].fill_(70_001)
    weights = network.state_dict()
    pool = TeacherPool(
        [Teacher(weights, weights, 1.0)],
        lambda seed: network_for(images, "convnet1w8-batch", seed=seed),
        statistics=images.statistics,
        device=torch.device("cpu"),
    )
    stored = in_16_bits(pool)[0].trained
    assert torch.equal(stored["blocks.1.running_var"], torch.full((8,), 1e6))
    assert int(stored["blocks.1.num_batches_tracked"]) == 70_001
    assert stored["blocks.0.weight"].dtype == torch.float16


def test_a_pool_keeps_counters_of_batch_norms(images, tmp_path):
    weights = network_for(images, "convnet1w8-batch", seed=0).state_dict()
    weights["blocks.1.num_batches_tracked"].fill_(70_001)
    pool = TeacherPool(
        [Teacher(weights, weights, 1.0)],
        lambda seed: network_for(images, "convnet1w8-batch", seed=seed),
        statistics=images.statistics,
        device=torch.device("cpu"),
    )
    write_teachers(tmp_path, in_16_bits(pool), facts_of(images, pool, "convnet1w8-batch"))
    found = read(tmp_path, images, "convnet1w8-batch").weights(0)[1]["blocks.1.num_batches_tracked"]
    assert found.dtype == torch.int64
    assert int(found) == 70_001


def test_facts_read_back(written, images):
    facts = read_facts(written[0])
    assert facts.class_names == images.class_names
    assert facts.mean == images.statistics.mean
    assert (facts.network, facts.number, facts.accuracies) == (NETWORK, 2, (0.5, 0.625))


def test_teachers_keep_the_normalisation_of_their_training(images, tmp_path):
    pool = random_pool(images)
    write_teachers(tmp_path, in_16_bits(pool), facts_of(images, pool, mean=(0.25,), std=(0.5,)))
    assert read(tmp_path, images).statistics[:2] == ((0.25,), (0.5,))


# --- what does not fit --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"image_size": 16}, "image size in px 16, here 8"),
        ({"channels": 3}, "channels 3, here 1"),
        ({"class_names": ("cat", "dog")}, r"classes 2 \(cat, dog\), here 10 \(0, 1, 2, ...\)"),
        ({"whitened": True}, "whitening True, here False"),
    ],
)
def test_teachers_of_other_images_are_refused(images, tmp_path, changes, text):
    pool = random_pool(images)
    write_teachers(tmp_path, in_16_bits(pool), facts_of(images, pool, **changes))
    with pytest.raises(InputError, match=text):
        read(tmp_path, images)


def test_another_network_is_refused(written, images):
    with pytest.raises(InputError, match="network convnet1w8, here convnet1w16"):
        read(written[0], images, "convnet1w16")


def test_other_training_images_are_reported(written, digits):
    with pytest.warns(UserWarning, match=r"were trained on few digits .* and not on the training images of few digits"):
        assert len(read(written[0], few(digits, 7))) == 2


def test_held_out_images_are_not_those_of_the_teachers(written, digits):
    held_out = dataclasses.replace(few(digits, 7), name="digits@validation")
    with pytest.raises(InputError, match=r"data.validation holds out"):
        read(written[0], held_out)


# --- damage -------------------------------------------------------------------------------------------------


def test_weights_of_another_pool_are_refused(written, images, tmp_path_factory):
    folder, _ = written
    other = tmp_path_factory.mktemp("other")
    pool = random_pool(images, number=1)
    write_teachers(other, in_16_bits(pool), facts_of(images, pool))
    (folder / WEIGHTS_FILE).write_bytes((other / WEIGHTS_FILE).read_bytes())
    with pytest.raises(RunError, match=r"is not the file that teachers.json describes"):
        read(folder, images)


def test_facts_of_more_teachers_than_weights_are_refused(written, images):
    folder, _ = written
    stored = json.loads((folder / FACTS_FILE).read_text())
    stored["training"]["number"] = 3
    (folder / FACTS_FILE).write_text(json.dumps(stored))
    with pytest.raises(RunError, match=r"does not have the weights of its network: blocks"):
        read(folder, images)


def test_weights_of_another_shape_are_refused(images, tmp_path):
    pool = random_pool(images, network="convnet1w16")
    write_teachers(tmp_path, in_16_bits(pool), facts_of(images, pool, NETWORK))
    with pytest.raises(RunError, match=r"does not have the weights of its network: blocks.0.bias"):
        read(tmp_path, images)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", '{"format": 1}', '{"format": 1, "training": 3}', '{"format": 2}', "\x00"],
)
def test_damaged_facts_are_one_sentence(tmp_path, text):
    (tmp_path / FACTS_FILE).write_text(text)
    with pytest.raises(NcfmError, match=r"teachers.json|format") as caught:
        read_facts(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_teachers_names_the_command(tmp_path):
    with pytest.raises(InputError, match=r"has no teachers.json; expected a folder of teachers, as `ncfm pretrain"):
        read_facts(tmp_path)


def test_teachers_see_images_as_they_learned_to_whatever_the_data_say(written, images):
    folder, _ = written
    other = dataclasses.replace(images, deviation="images")
    assert other.statistics.std != images.statistics.std
    with pytest.warns(UserWarning, match="were trained on few digits"):
        pool = read(folder, other)
    assert pool.statistics[:2] == images.statistics[:2]
    shown = to_float(images.train.images)
    said, expected = pool.relabel(normalize(shown, other.statistics)), read(folder, images).log_probabilities(shown)
    torch.testing.assert_close(said, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pool.log_probabilities(shown), expected)
    asked = make_config({"evaluate": {"labels": "teacher"}})
    assert build_targets(asked, None, pool).fingerprint != build_targets(asked, None, read(folder, images)).fingerprint


def test_the_map_of_whitened_teachers_is_that_of_their_images(images, tmp_path):
    white = dataclasses.replace(images, whitened=True)
    pool = random_pool(white)
    write_teachers(tmp_path, in_16_bits(pool), facts_of(white, pool, fingerprint="of other images"))
    with pytest.raises(InputError, match=r"trained on ZCA-whitened images of few digits \(fingerprint of other"):
        read(tmp_path, white)
