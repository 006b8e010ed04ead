"""Processes that share a pass see together what one process sees."""

import dataclasses

import numpy as np
import pytest

from tests.inputs.test_pipeline import OPTIONS, shards  # noqa: F401  (a fixture)
from tfskin.inputs import InputOptions, ReplicaShare, local_rows, make_dataset
from tfskin.inputs.sharing import local_batches

SHARES = [ReplicaShare(4, 0, 2), ReplicaShare(4, 2, 2)]


def batches(shards, options: InputOptions, **place):  # noqa: F811
    found = make_dataset(shards, "train", options=options, **place)
    listed = list(found.as_numpy_iterator())
    assert len(listed) == len(found)
    return listed


@pytest.mark.parametrize("skip", [0, 3])
def test_each_step_of_all_processes_is_a_batch_of_one(shards, skip):  # noqa: F811
    """72 images: four steps of 4 x 4, and one of 8, dealt out 2 x 4."""
    alone = dataclasses.replace(OPTIONS, batch_size=16)
    whole = batches(shards, alone, epoch=3, skip_batches=skip)
    parts = [
        batches(
            shards,
            dataclasses.replace(OPTIONS, batch_size=4, share=share),
            epoch=3,
            skip_batches=skip,
        )
        for share in SHARES
    ]
    assert [len(labels) for _, labels in parts[0][-2:]] == [2, 2]
    for step, (images, labels) in enumerate(whole):
        of_step = [batch for part in parts for batch in part[2 * step : 2 * step + 2]]
        assert [len(x) for x, _ in of_step] == [len(labels) // 4] * 4
        np.testing.assert_array_equal(np.concatenate([y for _, y in of_step]), labels)
        np.testing.assert_array_equal(np.concatenate([x for x, _ in of_step]), images)


def test_what_does_not_divide_evenly_goes_to_the_first_replicas():
    sizes = [np.diff(local_batches(23, 4, share)).ravel().tolist() for share in SHARES]
    assert sizes == [[4, 4, 2, 2], [4, 4, 2, 1]]


def test_a_pass_without_steps_is_cut_into_parts(shards):  # noqa: F811
    whole = batches(shards, OPTIONS)
    rows = []
    for share in SHARES:
        part = batches(shards, dataclasses.replace(OPTIONS, share=share))
        start, stop = local_rows(72, share)
        images = np.concatenate([images for images, _ in part])
        np.testing.assert_array_equal(
            images, np.concatenate([images for images, _ in whole])[start:stop]
        )
        rows.append((start, stop))
    assert rows == [(0, 36), (36, 72)]
