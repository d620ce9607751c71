"""Blocks of dask arrays against those of the same arrays in memory, to the bit."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pooling
from pooling.operators import BLOCK_REDUCTIONS

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

from pooling.dask import block_reduce, pyramid  # noqa: E402  without dask there is nothing to import

DTYPES = ("uint8", "int16", "uint64", "float32", "float64", "bool")


def numbers(shape, dtype, seed=0):
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return random.standard_normal(shape).astype(dtype)
    return random.integers(0, 2 if dtype == "bool" else 7, shape).astype(dtype)


def same(one, other):
    """Whether two arrays are equal to the bit, NaN included."""
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@st.composite
def chunked(draw, most_axes=3):
    dimensions = draw(st.integers(1, most_axes))
    chunks = tuple(tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))) for _ in range(dimensions))
    array = numbers(tuple(map(sum, chunks)), draw(st.sampled_from(DTYPES)), draw(st.integers(0, 2**32)))
    block = tuple(draw(st.integers(1, 5)) for _ in range(dimensions))
    return array, chunks, block


def outcome(function, *arguments, **keywords):
    """Return what a function returns, or what it says without the name of the function."""
    try:
        return function(*arguments, **keywords), ""
    except ValueError as error:
        return None, str(error).partition(": ")[2]


def computed(function, *arguments, **keywords):
    return dask.compute(function(*arguments, **keywords), scheduler="sync")


@settings(max_examples=60, deadline=None)
@given(chunked(), st.sampled_from(sorted(BLOCK_REDUCTIONS)), st.sampled_from(["partial", "trim"]), st.booleans())
def test_any_chunks_give_the_results_of_the_array_in_memory(case, func, edge, leaves_out):
    array, chunks, block = case
    arguments = {"func": func, "edge": edge, "return_valid": True}
    if leaves_out:
        arguments |= {"nodata": array.flat[0].item(), "min_valid": 0.3}
    expected, refused = outcome(pooling.block_reduce, array, block, **arguments)
    if refused:
        _, sentence = outcome(computed, block_reduce, da.from_array(array, chunks), block, **arguments)
        assert sentence == refused
        return
    made = block_reduce(da.from_array(array, chunks), block, **arguments)
    for one, other in zip(made, expected, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        assert same(one.compute(scheduler="sync"), other)


@settings(max_examples=40, deadline=None)
@given(
    chunked(),
    st.sampled_from(["mean", "sum", "max", "mode", "median", "std"]),
    st.sampled_from(["partial", "trim"]),
    st.integers(1, 3),
    st.booleans(),
)
def test_any_chunks_give_the_levels_of_the_array_in_memory(case, func, edge, levels, exact):
    array, chunks, block = case
    if max(block) == 1:
        block = (2,) * len(block)
    arguments = {"func": func, "edge": edge, "levels": levels, "exact": exact, "factors": block}
    expected, refused = outcome(pooling.pyramid, array, **arguments)
    if refused:
        assert outcome(computed, pyramid, da.from_array(array, chunks), **arguments)[1]
        return
    made = pyramid(da.from_array(array, chunks), **arguments)
    assert len(made) == len(expected) == levels
    for one, other in zip(made, expected, strict=True):
        assert one.shape == other.shape
        assert same(one.compute(scheduler="sync"), other)


def test_a_partial_block_at_the_end_has_no_chunk_of_its_own():
    """Its elements would be added in the order of a whole block of that shape: another last bit."""
    array = np.random.default_rng(0).integers(0, 256, (45, 59, 29)).astype(np.uint8)
    made = block_reduce(da.from_array(array, (45, 37, 14)), (2, 8, 2), "var")
    assert made.chunks[2] == (7, 8)
    assert same(made.compute(scheduler="sync"), pooling.block_reduce(array, (2, 8, 2), "var"))


def test_weights():
    array, weights = numbers((11, 9), "float32"), np.random.default_rng(1).random((11, 9))
    expected = pooling.block_reduce(array, (2, 3), "mean", weights=weights)
    lazy = da.from_array(array, (4, 5))
    assert same(block_reduce(lazy, (2, 3), "mean", weights=weights).compute(), expected)
    assert same(block_reduce(lazy, (2, 3), "mean", weights=da.from_array(weights, (3, 3))).compute(), expected)
    with pytest.raises(ValueError) as caught:
        block_reduce(lazy, 2, "max", weights=weights)
    assert str(caught.value).startswith("dask.block_reduce: func='max' takes no weights; leave them out, or use mean")
    with pytest.raises(ValueError) as caught:
        block_reduce(lazy, 2, "mean", weights=weights[1:])
    assert str(caught.value).startswith("dask.block_reduce: weights has shape (10, 9), the array (11, 9)")
    for words in (np.full(array.shape, "1"), da.full(array.shape, "1", chunks=4)):
        with pytest.raises(TypeError, match=r"^dask\.block_reduce: weights "):
            block_reduce(lazy, 2, "mean", weights=words)


def test_masked_chunks_stay_masked():
    array = np.ma.MaskedArray(numbers((6, 8), "float64"), numbers((6, 8), "bool"))
    array.mask[:2, :2] = True
    expected = pooling.block_reduce(array, 2)
    made = block_reduce(da.from_array(array, (3, 5)), 2).compute()
    assert isinstance(made, np.ma.MaskedArray)
    np.testing.assert_array_equal(np.ma.getmaskarray(made), np.ma.getmaskarray(expected))
    np.testing.assert_array_equal(made, expected)


def tasks(array, name):
    """How many chunks a function of this module makes."""
    graph = array.__dask_graph__()
    return sum(name in str(key[0] if isinstance(key, tuple) else key) for key in dict(graph))


def test_aligned_chunks_take_one_task_each_and_no_rechunking():
    lazy = da.zeros((64, 48), chunks=(16, 12), dtype=np.uint8)
    made = block_reduce(lazy, (4, 3))
    assert tasks(made, "_one") == 16
    assert tasks(made, "rechunk") == 0
    assert made.chunks == ((4,) * 4, (4,) * 4)


def test_borders_of_chunks_move_to_the_nearest_block():
    lazy = da.zeros((100, 7), chunks=((33, 33, 34), 7), dtype=np.uint8)
    made = block_reduce(lazy, (4, 1))
    assert made.chunks == ((8, 9, 8), (7,))
    assert tasks(made, "_one") == 3


def test_levels_of_a_chunk_are_made_together():
    lazy = da.zeros((64, 64), chunks=16, dtype=np.uint8)
    levels = pyramid(lazy, levels=4)
    assert tasks(levels[3], "_all_levels") == 16
    assert [level.shape for level in levels] == [(32, 32), (16, 16), (8, 8), (4, 4)]
    # Blocks of 32 are larger than chunks: that level is made of the array again, in chunks of 32.
    assert tasks(pyramid(lazy, levels=5)[4], "_one") == 4


def test_a_task_uses_one_thread():
    seen = []

    def watch(*arguments, **keywords):
        seen.append(pooling.get_num_threads())
        return pooling.block_reduce(*arguments, **keywords)

    from pooling import dask as module

    original, module.reduce_in_memory = module.reduce_in_memory, watch
    try:
        with pooling.threads(2):
            block_reduce(da.zeros((8, 8), chunks=4), 2).compute(scheduler="sync")
    finally:
        module.reduce_in_memory = original
    assert set(seen) == {1}


def test_sentences():
    with pytest.raises(TypeError) as caught:
        block_reduce(np.zeros(3), 2)
    assert str(caught.value) == (
        "dask.block_reduce: array must be a dask array, not ndarray; use dask.array.from_array(array), or "
        "pooling.block_reduce for arrays in memory"
    )
    lazy = da.zeros(9, chunks=3)
    with pytest.raises(ValueError) as caught:
        pyramid(lazy[lazy > 0])
    assert str(caught.value) == (
        "dask.pyramid: array has chunks of unknown size; call array.compute_chunk_sizes() first"
    )
    for arguments, sentence in (
        ({"block_size": 0}, "dask.block_reduce: block_size=0 must be at least 1"),
        ({"block_size": (2, 2)}, "dask.block_reduce: block_size=(2, 2) must have one entry per axis, 1 and not 2"),
        ({"block_size": 2, "edge": "error"}, "dask.block_reduce: edge='error' and axis 0 of 9 elements is not divided"),
        ({"block_size": 2, "func": "maen"}, "dask.block_reduce: func='maen' must be one of"),
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            block_reduce(lazy, **arguments)
        assert str(caught.value).startswith(sentence)


def test_empty_arrays():
    made = block_reduce(da.zeros((0, 5), chunks=3), 2)
    assert made.compute().shape == (0, 3)


# ---------------------------------------------------------------------------------------------------------------------
# A cluster


@pytest.fixture
def client():
    distributed = pytest.importorskip("distributed")
    with (
        dask.config.set({"distributed.worker.daemon": True}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, worker_dashboard_address=None,
            protocol="tcp", host="127.0.0.1",
        ) as cluster,
        distributed.Client(cluster) as found,
    ):  # fmt: skip
        yield found


def slow(chunk):
    time.sleep(0.02)
    return chunk


def test_a_cluster_whose_worker_is_killed_gives_the_same_bits(client):
    array = numbers((160, 120), "float32", 3)
    lazy = da.from_array(array, chunks=(13, 17)).map_blocks(slow)
    expected = [pooling.block_reduce(array, (4, 3)), *pooling.pyramid(array, levels=3)]
    made = [block_reduce(lazy, (4, 3)), *pyramid(lazy, levels=3)]
    workers = client.run(os.getpid)
    assert len(workers) == 2
    victim = next(iter(workers.values()))
    killer = threading.Timer(0.4, os.kill, (victim, signal.SIGKILL))
    futures = client.compute(made)
    killer.start()
    results = client.gather(futures)
    killer.join()
    assert victim not in client.run(os.getpid).values()
    for one, other in zip(results, expected, strict=True):
        assert same(one, other)
