"""OME-Zarr images: levels against originals, metadata against other readers, and calls that end early."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

import pooling
from pooling import cli

zarr = pytest.importorskip("zarr")

from pooling.zarr import write_multiscales  # noqa: E402  without zarr there is nothing to import

SMALL = {"chunks": (8, 8, 8), "shards": (16, 16, 16), "memory": 1 << 16}
"""So that small volumes are written in several regions, and levels of them gathered."""


def volume(shape=(50, 61, 74), dtype="uint16", seed=0):
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return random.standard_normal(shape).astype(dtype)
    return random.integers(0, min(60_000, np.iinfo(dtype).max), shape).astype(dtype)


def levels_of(path):
    group = zarr.open_group(path, mode="r")
    return [np.asarray(group[name]) for name in sorted(group.array_keys(), key=int)]


def image_of(path):
    attributes = dict(zarr.open_group(path, mode="r").attrs)
    return attributes.get("ome", attributes)["multiscales"][0]


def exact_means(array, factor):
    """Means of blocks in whole numbers, ties to even."""
    padded_shape = [-(-size // factor) * factor for size in array.shape]
    sums = np.zeros(padded_shape, np.int64)
    ones = np.zeros(padded_shape, np.int64)
    sums[tuple(map(slice, array.shape))] = array
    ones[tuple(map(slice, array.shape))] = 1
    split = [part for size in padded_shape for part in (size // factor, factor)]
    inner = tuple(range(1, 2 * array.ndim, 2))
    sums, counts = sums.reshape(split).sum(inner), ones.reshape(split).sum(inner)
    quotients, rests = np.divmod(sums, counts)
    return quotients + ((2 * rests > counts) | ((2 * rests == counts) & (quotients % 2 == 1)))


@pytest.mark.parametrize(("version", "dtype"), [("0.5", "uint8"), ("0.5", "int16"), ("0.4", "uint16")])
def test_no_pixel_of_an_integer_pyramid_is_wrong(tmp_path, version, dtype):
    array = volume(dtype=dtype)
    arguments = SMALL if version == "0.5" else {"chunks": (16, 16, 16), "memory": 1 << 16}
    target = write_multiscales(array, tmp_path / "a.zarr", axes="zyx", levels=4, ome_version=version, **arguments)
    made = levels_of(target)
    np.testing.assert_array_equal(made[0], array)
    for level in range(1, 5):
        assert made[level].dtype == array.dtype
        np.testing.assert_array_equal(made[level], exact_means(array, 2**level))
    assert os.listdir(tmp_path) == ["a.zarr"]
    assert not (target / "pooling").exists()


@pytest.mark.parametrize(
    ("func", "arguments"),
    [
        ("mean", {"nodata": 3, "min_valid": 0.4, "rounding": "half_up"}),
        ("mode", {"nodata": 0, "exact": True}),
        ("mode", {"nodata": 0}),
        ("median", {}),
        ("max", {}),
        ("first", {}),
    ],
)
def test_levels_are_those_of_the_array_in_memory(tmp_path, func, arguments):
    array = (volume((50, 61, 70), "uint8") % 7).astype(np.uint8)
    target = write_multiscales(array, tmp_path / "a.zarr", axes="zyx", levels=3, func=func, **arguments, **SMALL)
    expected = [array, *pooling.pyramid(array, 2, 3, func, **arguments)]
    for one, other in zip(levels_of(target), expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("func", ["mean", "std", "rms"])
def test_floats_are_equal_to_the_bit(tmp_path, func):
    array = volume((49, 65, 66), "float32")  # with less than a block of the smallest level at the ends
    array[10:20, 10:20] = np.nan
    target = write_multiscales(array, tmp_path / "a.zarr", axes="zyx", levels=3, func=func, nodata=np.nan, **SMALL)
    for one, other in zip(levels_of(target)[1:], pooling.pyramid(array, 2, 3, func, nodata=np.nan), strict=True):
        assert one.tobytes() == other.tobytes()


def test_factors_by_letter_and_by_level(tmp_path):
    array = volume((20, 40, 40), "uint8")
    one = write_multiscales(array, tmp_path / "a.zarr", axes="zyx", levels=2, factors={"y": 2, "x": 4})
    assert [level.shape for level in levels_of(one)] == [(20, 40, 40), (20, 20, 10), (20, 10, 3)]
    other = write_multiscales(array, tmp_path / "b.zarr", axes="zyx", factors=[(1, 2, 2), (2, 2, 2)])
    assert [level.shape for level in levels_of(other)] == [(20, 40, 40), (20, 20, 20), (10, 10, 10)]
    datasets = image_of(other)["datasets"]
    assert [each["coordinateTransformations"][0]["scale"] for each in datasets] == [[1, 1, 1], [1, 2, 2], [2, 4, 4]]
    assert [each["coordinateTransformations"][1]["translation"] for each in datasets] == [
        [0, 0, 0],
        [0, 0.5, 0.5],
        [0.5, 1.5, 1.5],
    ]


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_metadata(tmp_path, version):
    array = volume((3, 2, 40, 50, 60), "uint8")
    target = write_multiscales(
        array,
        tmp_path / "cells.ome.zarr",
        axes="tczyx",
        levels=2,
        scale={"t": 30.0, "z": 2.0, "y": 0.5, "x": 0.5},
        translation={"z": 100.0},
        units={"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"},
        ome_version=version,
    )
    image = image_of(target)
    assert image["name"] == "cells"
    assert image["axes"] == [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "c", "type": "channel"},
        {"name": "z", "type": "space", "unit": "micrometer"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    last = image["datasets"][2]["coordinateTransformations"]
    assert last == [
        {"type": "scale", "scale": [30, 1, 8, 2, 2]},
        {"type": "translation", "translation": [0, 0, 103, 0.75, 0.75]},
    ]
    assert levels_of(target)[2].shape == (3, 2, 10, 13, 15)
    array0 = zarr.open_group(target, mode="r")["0"]
    assert array0.metadata.zarr_format == (3 if version == "0.5" else 2)
    if version == "0.4":
        assert json.loads((target / "0" / ".zarray").read_text())["dimension_separator"] == "/"
        assert "multiscales" in json.loads((target / ".zattrs").read_text())
    else:
        assert array0.metadata.dimension_names == ("t", "c", "z", "y", "x")
        assert json.loads((target / "zarr.json").read_text())["attributes"]["ome"]["version"] == "0.5"


def test_levels_do_not_shift(tmp_path):
    """A plane y = a + b * x keeps its numbers where the metadata say that elements lie."""
    heights = np.add.outer(3.0 * np.arange(64), 5.0 * np.arange(48))
    target = write_multiscales(
        heights, tmp_path / "a.zarr", axes="yx", levels=3, scale=[0.5, 2.0], translation=[7.0, -3.0]
    )
    for level, dataset in zip(levels_of(target), image_of(target)["datasets"], strict=True):
        scale, shift = (each[each["type"]] for each in dataset["coordinateTransformations"])
        y, x = (start + size * np.arange(n) for start, size, n in zip(shift, scale, level.shape, strict=True))
        np.testing.assert_allclose(level, np.add.outer(3 * (y - 7) / 0.5, 5 * (x + 3) / 2), rtol=1e-12)


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_other_libraries_read_it(tmp_path, version):
    array = volume((40, 50, 60), "uint8")
    target = write_multiscales(
        array, tmp_path / "a.zarr", axes="zyx", levels=2, scale=[2, 1, 1], units="micrometer", ome_version=version
    )
    expected = [array, *pooling.pyramid(array, levels=2)]
    ngff_zarr = pytest.importorskip("ngff_zarr")
    images = ngff_zarr.from_ngff_zarr(target, validate=False).images
    for image, level, factor in zip(images, expected, (1, 2, 4), strict=True):
        np.testing.assert_array_equal(np.asarray(image.data), level)
        assert list(image.dims) == ["z", "y", "x"]
        assert image.scale == {"z": 2 * factor, "y": factor, "x": factor}
        assert image.translation == {"z": factor - 1, "y": (factor - 1) / 2, "x": (factor - 1) / 2}
    reader, location = pytest.importorskip("ome_zarr.reader"), pytest.importorskip("ome_zarr.io")
    node = next(iter(reader.Reader(location.parse_url(target))()))
    for read, level in zip(node.data, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(read), level)
    assert [axis["name"] for axis in node.metadata["axes"]] == ["z", "y", "x"]


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_the_official_schema_accepts_it(tmp_path, version):
    jsonschema = pytest.importorskip("jsonschema")
    validate = pytest.importorskip("ngff_zarr.validate")
    assert jsonschema is not None
    target = write_multiscales(
        volume((20, 30, 40), "uint8"), tmp_path / "a.zarr", axes="zyx", levels=2, ome_version=version
    )
    attributes = dict(zarr.open_group(target, mode="r").attrs)
    validate.validate(attributes, version=version)
    broken = json.loads(json.dumps(attributes))
    broken.get("ome", broken)["multiscales"][0]["axes"][0]["name"] = 3
    with pytest.raises(jsonschema.ValidationError):
        validate.validate(broken, version=version)


# ---------------------------------------------------------------------------------------------------------------------
# Sources


def test_sources(tmp_path):
    array = volume((20, 40, 44), "uint16")
    expected = pooling.pyramid(array, levels=2)

    def check(source, name, **arguments):
        made = levels_of(write_multiscales(source, tmp_path / name, levels=2, **arguments))
        np.testing.assert_array_equal(made[0], array)
        for one, other in zip(made[1:], expected, strict=True):
            np.testing.assert_array_equal(one, other)

    np.save(tmp_path / "a.npy", array)
    check(tmp_path / "a.npy", "of_npy.zarr", axes="zyx")
    check(np.load(tmp_path / "a.npy", mmap_mode="r"), "of_map.zarr", axes="zyx")
    check(np.asfortranarray(array).astype(">u2"), "of_swapped.zarr", axes="zyx")
    check(array.transpose(2, 1, 0), "of_xyz.zarr", axes="xyz")
    held = zarr.create_array(tmp_path / "plain", data=array, chunks=(8, 16, 16), dimension_names=["z", "y", "x"])
    check(held, "of_array.zarr")
    check(tmp_path / "plain", "of_folder.zarr")
    check(tmp_path / "of_npy.zarr", "of_image.zarr")
    tifffile = pytest.importorskip("tifffile")
    for compression in (None, "zlib"):
        path = tmp_path / f"{compression}.tif"
        tifffile.imwrite(path, array, metadata={"axes": "ZYX"}, compression=compression)
        check(path, f"of_{compression}.zarr")
    colours = tmp_path / "colours.tif"
    tifffile.imwrite(colours, volume((30, 40, 3), "uint8"), photometric="rgb")
    made = levels_of(write_multiscales(colours, tmp_path / "colours.zarr", levels=1))
    np.testing.assert_array_equal(
        made[1], pooling.block_reduce(volume((30, 40, 3), "uint8").transpose(2, 0, 1), (1, 2, 2))
    )


def test_sources_that_are_cut_off(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    array = volume((40, 40, 40), "uint8")
    np.save(tmp_path / "a.npy", array)
    tifffile.imwrite(tmp_path / "a.tif", array, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "b.tif", array, metadata={"axes": "ZYX"}, compression="zlib")
    for name in ("a.npy", "a.tif", "b.tif"):
        path = tmp_path / name
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises((ValueError, OSError)) as caught:
            write_multiscales(path, tmp_path / "out.zarr", axes="zyx")
        assert str(caught.value).startswith("write_multiscales: ")
        assert not (tmp_path / "out.zarr").exists()
    (tmp_path / "c.npy").write_bytes(b"")
    with pytest.raises(ValueError) as caught:
        write_multiscales(tmp_path / "c.npy", tmp_path / "out.zarr", axes="zyx")
    assert "c.npy' is cut off, or no array" in str(caught.value)
    (tmp_path / "d.npy").write_text("1 2 3 4\n5 6 7 8\n")
    with pytest.raises(ValueError, match=r"d\.npy' is no file of numpy\.save, whatever its name says; save") as caught:
        write_multiscales(tmp_path / "d.npy", tmp_path / "out.zarr", axes="yx")
    assert "pickle" not in str(caught.value)
    for begins, sentence in (
        (b"\x93NU", "is cut off, or no array: it has 3 bytes"),
        (b"PK\3\4aaaa", "is no file of numpy"),
        # The end of an archive, with a list of files that is none.
        (b"x" * 50 + b"PK\5\6" + bytes(4) + bytes([1, 0, 1, 0, 50]) + bytes(9), "is cut off, or no array"),
    ):
        (tmp_path / "e.npy").write_bytes(begins)
        with pytest.raises(ValueError, match=sentence):
            write_multiscales(tmp_path / "e.npy", tmp_path / "out.zarr", axes="yx")


@pytest.mark.parametrize("shape", [(), (7,), (2, 2, 2, 2, 2, 2)])
def test_an_image_has_two_to_five_axes(tmp_path, shape):
    with pytest.raises(ValueError, match=f"has 2 to 5 axes, and the source has {len(shape)}: "):
        write_multiscales(np.zeros(shape, np.uint8), tmp_path / "a.zarr")
    assert not os.listdir(tmp_path)


def test_numbers_of_colours_have_no_mean(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    array = volume((40, 50), "uint8")
    colours = np.zeros((3, 256), np.uint16)
    colours[:] = np.arange(256) * 257
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="palette", colormap=colours)
    for func in ("mean", "min", "median"):
        with pytest.raises(
            ValueError, match=f"func='{func}' has no meaning for elements that are the numbers of a pal"
        ):
            write_multiscales(tmp_path / "a.tif", tmp_path / "a.zarr", func=func, levels=1)
    assert os.listdir(tmp_path) == ["a.tif"]
    made = write_multiscales(tmp_path / "a.tif", tmp_path / "a.zarr", func="mode", levels=1)
    np.testing.assert_array_equal(levels_of(made)[1], pooling.block_reduce(array, 2, "mode"))
    # ImageJ has the colours there in which it shows intensities.
    tifffile.imwrite(
        tmp_path / "b.tif", array, photometric="palette", colormap=colours,
        description="ImageJ=1.53t\nimages=1\nslices=1\n", metadata=None,
    )  # fmt: skip
    made = write_multiscales(tmp_path / "b.tif", tmp_path / "b.zarr", axes="yx", levels=1)
    np.testing.assert_array_equal(levels_of(made)[1], pooling.block_reduce(array, 2))


# ---------------------------------------------------------------------------------------------------------------------
# Calls that end early

WRITE = """
import os, signal, sys
import numpy as np
from pooling.zarr import write_multiscales

last = int(sys.argv[3])

def progress(done, total, what):
    if done == last:
        os.kill(os.getpid(), signal.SIGKILL)

write_multiscales(sys.argv[1], sys.argv[2], axes="zyx", levels=3, chunks=(8, 8, 8), shards=(16, 16, 16),
                  memory=1 << 16, progress=progress)
"""


@pytest.mark.parametrize("last", [1, 7, "gathering"])
def test_a_call_that_is_killed_goes_on_where_it_was(tmp_path, last):
    array = volume((64, 100, 110), "uint8")
    np.save(tmp_path / "a.npy", array)
    steps = []
    arguments = {"axes": "zyx", "levels": 3, **SMALL}
    whole = write_multiscales(
        tmp_path / "a.npy", tmp_path / "whole.zarr", progress=lambda *step: steps.append(step), name="out", **arguments
    )
    regions = sum(what == "reducing" for _, _, what in steps)
    assert 8 < regions < len(steps) - 3
    stop = regions + 2 if last == "gathering" else last
    target, draft = tmp_path / "out.zarr", tmp_path / "out.zarr.unfinished"
    died = subprocess.run([sys.executable, "-c", WRITE, tmp_path / "a.npy", target, str(stop)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert not target.exists()
    # What there is of it is no image to anybody.
    assert "ome" not in dict(zarr.open_group(draft, mode="r").attrs)
    done = (draft / "pooling" / "journal").read_text().split()
    assert len(done) == min(stop, regions)
    with pytest.raises(FileExistsError) as caught:
        write_multiscales(tmp_path / "a.npy", target, axes="zyx", levels=2)
    assert "holds what a call with other arguments, or of another source, has begun" in str(caught.value)
    read = []
    original = pooling.zarr._read
    pooling.zarr._read = lambda source, region: read.append(region) or original(source, region)
    try:
        assert write_multiscales(tmp_path / "a.npy", target, **arguments) == target
    finally:
        pooling.zarr._read = original
    # Two corners tell that it is the same source.
    assert len(read) == 2 + regions - len(done)
    assert not draft.exists()
    for one, other in zip(levels_of(target), levels_of(whole), strict=True):
        np.testing.assert_array_equal(one, other)
    assert image_of(target) == image_of(whole)


def test_an_exception_leaves_nothing_that_looks_whole(tmp_path):
    array = volume((64, 100, 110), "uint8")

    def stop(done, total, what):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_multiscales(array, tmp_path / "a.zarr", axes="zyx", levels=3, progress=stop, **SMALL)
    assert not (tmp_path / "a.zarr").exists()
    other = volume((64, 100, 110), "uint8", seed=1)
    with pytest.raises(FileExistsError):
        write_multiscales(other, tmp_path / "a.zarr", axes="zyx", levels=3, **SMALL)
    target = write_multiscales(other, tmp_path / "a.zarr", axes="zyx", levels=3, overwrite=True, **SMALL)
    np.testing.assert_array_equal(levels_of(target)[0], other)


def test_stores_that_exist_are_kept(tmp_path):
    array = volume((20, 20, 20), "uint8")
    target = tmp_path / "a.zarr"
    target.mkdir()
    (target / "precious").write_text("kept")
    (target / "zarr.json").write_text("{}")
    with pytest.raises(FileExistsError) as caught:
        write_multiscales(array, target, axes="zyx")
    assert str(caught.value) == (
        f"write_multiscales: {str(target)!r} exists; name another store, or say overwrite=True"
    )
    assert (target / "precious").read_text() == "kept"
    # A call that fails replaces nothing.
    with pytest.raises(KeyboardInterrupt):
        write_multiscales(array, target, axes="zyx", overwrite=True, progress=interrupt)
    assert (target / "precious").read_text() == "kept"
    write_multiscales(array, target, axes="zyx", overwrite=True)
    np.testing.assert_array_equal(levels_of(target)[0], array)
    assert sorted(os.listdir(tmp_path)) == ["a.zarr"]


def interrupt(*arguments):
    raise KeyboardInterrupt


FULL = """
import resource, sys
import numpy as np
from pooling.zarr import write_multiscales

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
try:
    write_multiscales(sys.argv[1], sys.argv[2], axes="zyx", levels=2)
except OSError as error:
    print(error)
"""


def test_a_disk_that_is_full_is_a_sentence_and_nothing_is_lost(tmp_path):
    """A limit on the size of files stands in for a disk: writing fails in the same place."""
    array = volume((64, 100, 110), "uint8")
    np.save(tmp_path / "a.npy", array)
    target = tmp_path / "out.zarr"
    ended = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "a.npy", target], check=True, capture_output=True, text=True
    )
    assert (
        f"write_multiscales: {str(target)!r} cannot be written (File too large); what is done stays in" in ended.stdout
    )
    # Nor do threads that still write complain when the program ends.
    assert ended.stderr == ""
    assert not target.exists()
    write_multiscales(tmp_path / "a.npy", target, axes="zyx", levels=2)
    np.testing.assert_array_equal(levels_of(target)[1], exact_means(array, 2))


def test_two_processes_do_not_write_the_same_image(tmp_path):
    array = volume((64, 100, 110), "uint8")

    def other(done, total, what):
        if done == 2:
            with pytest.raises(BlockingIOError) as caught:
                write_multiscales(array, tmp_path / "a.zarr", axes="zyx", levels=3, **SMALL)
            said.append(str(caught.value))

    said = []
    write_multiscales(array, tmp_path / "a.zarr", axes="zyx", levels=3, progress=other, **SMALL)
    assert len(said) == 1
    assert "another process is writing" in said[0]


MEASURE = """
import resource, sys
import numpy as np
import pooling.zarr

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pooling.zarr.write_multiscales(sys.argv[1], sys.argv[2], axes="zyx", memory=1 << 23)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_memory_is_bounded(tmp_path):
    """Of a source of 384 MiB, 8 MiB at a time; zarr holds several copies of a shard, of 16 MiB, while it is encoded."""
    array = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, (1536, 512, 512))
    array[::3] = np.arange(512)
    array.flush()
    del array
    ended = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / "a.npy", tmp_path / "a.zarr"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert int(ended.stdout) < 128 << 20


# ---------------------------------------------------------------------------------------------------------------------
# Arguments


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"axes": None},
            "the source does not say what its 3 axes are; give axes, one letter for each of them, such as",
        ),
        ({"axes": "yx"}, "axes='yx' names 2 axes, and the source has 3: (4, 5, 6); write one letter for each"),
        ({"axes": "zzx"}, "axes='zzx' must be letters of t, c, z, y and x, each once"),
        ({"axes": "tcx"}, "axes='tcx' must name two or three of z, y and x, as OME-Zarr has it"),
        ({"axes": 3}, "axes=3 must be letters, not int; write 'zyx' or 'tcyx'"),
        ({"factors": 0}, "factors=0 must be at least 1, not 0"),
        ({"factors": {"q": 2}}, "factors={'q': 2} names 'q', and the axes are 'z', 'y', 'x'"),
        ({"factors": {"z": 1.5}}, "factors={'z': 1.5} must be integers, not float for 'z'"),
        ({"factors": {"z": 0}}, "factors={'z': 0} must be at least 1, not 0 for 'z'; 1 keeps an axis as it is"),
        ({"units": {"q": "micrometer"}}, "units={'q': 'micrometer'} names 'q', and the axes are 'z', 'y', 'x'"),
        ({"scale": {"q": 2}}, "scale={'q': 2} names 'q', and the axes are 'z', 'y', 'x'"),
        ({"levels": -1}, "levels=-1 must be between 0 and"),
        ({"func": "std"}, "func='std' of uint8 gives float64, and the levels of an image have one dtype; convert the"),
        ({"func": "avg"}, "func='avg' must be one of"),
        ({"nodata": 300}, "nodata=300 is no number of uint8, which holds the integers from 0 to 255"),
        ({"scale": 0}, "scale=0 must be finite and above 0"),
        ({"scale": [1, 2]}, "scale=[1, 2] must have one number for each of 3 axes, or of 3 of space"),
        ({"translation": {"z": np.nan}}, "translation={'z': nan} must be finite"),
        ({"ome_version": "0.6"}, "ome_version='0.6' must be '0.5' or '0.4'"),
        ({"ome_version": "0.4", "shards": (8, 8, 8)}, "shards=(8, 8, 8) there are no shards in OME-Zarr 0.4"),
        (
            {"chunks": (4, 4, 4), "shards": (6, 8, 8)},
            "shards=(6, 8, 8) must be multiples of chunks, which are (4, 4, 4)",
        ),
        ({"memory": 5}, "memory=5 must be between 65536 and"),
        ({"exact": True, "levels": 1}, "exact=True is for modes and medians; levels of func='mean' are exact"),
        ({"exact": True, "levels": 0}, "exact=True is for modes and medians; levels of func='mean' are exact"),
        ({"compressors": "zip"}, "compressors='zip' is no codec that zarr.create_array takes ("),
        ({"compressors": 3}, "compressors=3 is no codec that zarr.create_array takes ("),
        ({"progress": True}, "progress=True must be a function of (done, total, what), not bool"),
        ({"name": 3}, "name=3 must be a word, not int"),
        ({"units": ""}, "units='' must be words such as 'micrometer'; leave them out where not known"),
        ({"overwrite": 1}, "overwrite=1 must be True or False, not int"),
    ],
)
def test_sentences(tmp_path, arguments, sentence):
    given = {"axes": "zyx", **arguments}
    with pytest.raises((TypeError, ValueError)) as caught:
        write_multiscales(np.zeros((4, 5, 6), np.uint8), tmp_path / "a.zarr", **given)
    assert str(caught.value).startswith(f"write_multiscales: {sentence}")
    assert os.listdir(tmp_path) == []


def test_sources_and_stores_that_are_none(tmp_path):
    array = np.zeros((4, 5, 6), np.uint8)
    (tmp_path / "text.txt").write_text("no array")
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "objects.npy", np.array([[None, {}]]))
    np.savez(tmp_path / "several.npz", array)
    os.rename(tmp_path / "several.npz", tmp_path / "several.npy")
    for source, kind, sentence in (
        (tmp_path / "objects.npy", TypeError, f"{str(tmp_path / 'objects.npy')!r} holds objects of Python"),
        (tmp_path / "several.npy", ValueError, f"{str(tmp_path / 'several.npy')!r} is an archive of several arrays"),
        ("s3://bucket/a.zarr", ValueError, "'s3://bucket/a.zarr' is an address of s3, and a source is a file or"),
        ([1, 2], TypeError, "source of type list is no array, zarr.Array or path"),
        (np.ma.MaskedArray(array), TypeError, "source is a masked array; fill it"),
        (tmp_path / "none.npy", FileNotFoundError, "there is no file or folder"),
        (
            tmp_path / "text.txt",
            ValueError,
            f"{str(tmp_path / 'text.txt')!r} is none of .npy, .tif and a folder of Zarr",
        ),
        (tmp_path / "empty", ValueError, f"{str(tmp_path / 'empty')!r} is no folder of Zarr"),
        (np.zeros((0, 5, 6)), ValueError, "the source has no elements: its shape is (0, 5, 6)"),
        (np.zeros((4, 5, 6), object), TypeError, "array has dtype object, which is not accepted"),
    ):
        with pytest.raises(kind) as caught:
            write_multiscales(source, tmp_path / "a.zarr", axes="zyx")
        assert str(caught.value).startswith(f"write_multiscales: {sentence}")
    with pytest.raises(TypeError) as caught:
        write_multiscales(array, zarr.storage.MemoryStore(), axes="zyx")
    assert str(caught.value).startswith(
        "write_multiscales: store of type MemoryStore is no path; give that of a folder"
    )
    with pytest.raises(ValueError) as caught:
        write_multiscales(array, "https://example.org/a.zarr", axes="zyx")
    assert str(caught.value) == (
        "write_multiscales: 'https://example.org/a.zarr' is an address of https, and an image is written to a folder "
        "of this machine; write it here, and copy it there"
    )
    with pytest.raises(ValueError, match="write it here, and copy it there"):
        write_multiscales(array, Path("gs://bucket/a.zarr"), axes="zyx")
    with pytest.raises(FileNotFoundError) as caught:
        write_multiscales(array, tmp_path / "no" / "a.zarr", axes="zyx")
    assert str(caught.value).endswith("for the store")
    with pytest.raises(ValueError) as caught:
        write_multiscales(np.zeros((2**9, 2**9), np.uint8), tmp_path / "b.zarr", axes="yx", levels=9, memory=1 << 16)
    assert "one element of level 9 stands for (512, 512) elements of the source" in str(caught.value)


def test_a_refused_element_leaves_nothing_in_the_way(tmp_path):
    """A sum that does not fit is found while levels are written; the folder that was begun kept later calls out."""
    large = np.full((16, 16), 2**62)
    with pytest.raises(ValueError, match="does not fit int64"):
        write_multiscales(large, tmp_path / "a.zarr", axes="yx", func="sum", levels=1)
    assert os.listdir(tmp_path) == []
    write_multiscales(large, tmp_path / "a.zarr", axes="yx", levels=1)


def test_units_by_their_signs(tmp_path):
    made = write_multiscales(np.zeros((4, 5), np.uint8), tmp_path / "a.zarr", axes="yx", units="um", scale=2)
    assert [axis["unit"] for axis in image_of(made)["axes"]] == ["micrometer"] * 2


def test_no_image_is_written_into_an_array(tmp_path):
    zarr.save_array(tmp_path / "plain.zarr", np.zeros((4, 5), np.uint8))
    before = sorted(map(str, (tmp_path / "plain.zarr").rglob("*")))
    with pytest.raises(ValueError, match=r"lies in '.*plain\.zarr', the source, which is an array; name another store"):
        write_multiscales(tmp_path / "plain.zarr", tmp_path / "plain.zarr" / "sub.zarr", axes="yx")
    assert sorted(map(str, (tmp_path / "plain.zarr").rglob("*"))) == before


@pytest.mark.parametrize("kind", ["imagej", "ome", "tiles", "pages", "plain"])
def test_a_tiff_that_lost_pages_is_cut_off(tmp_path, kind):
    """tifffile leaves out the pages that it does not find, and says so in a log."""
    tifffile = pytest.importorskip("tifffile")
    array = volume((9, 70, 101))
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    settings = {
        "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
        "ome": {"metadata": {"axes": "ZYX"}},
        "tiles": {"tile": (32, 32), "compression": "zlib", "metadata": {"axes": "ZYX"}},
        "pages": {"compression": "zlib"},
        "plain": {"compression": "zlib", "metadata": None},
    }[kind]
    tifffile.imwrite(path, array, **settings)
    made = write_multiscales(path, tmp_path / "whole.zarr", axes="zyx", levels=1)
    assert np.array_equal(levels_of(made)[0], array)
    os.truncate(path, 60_000)
    with pytest.raises(ValueError, match=r"a(\.ome)?\.tif' is cut off(: it has 60000 bytes|, or no TIFF)"):
        write_multiscales(path, tmp_path / "a.zarr", axes="zyx", levels=1)
    assert sorted(os.listdir(tmp_path)) == sorted([path.name, "whole.zarr"])


def test_a_tiff_of_several_images_is_asked_for_one(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    array = volume((3, 40, 50), "uint8")
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for each in array:
            file.write(each, contiguous=False)
    with pytest.raises(ValueError, match=r"a\.tif' holds 3 images, of shapes \(40, 50\), \(40, 50\), \(40, 50\); give"):
        write_multiscales(tmp_path / "a.tif", tmp_path / "a.zarr")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        one = zarr.open_array(file.series[1].aszarr(level=0), mode="r")
        made = write_multiscales(one, tmp_path / "a.zarr", axes="yx", levels=1)
    assert np.array_equal(levels_of(made)[0], array[1])


# ---------------------------------------------------------------------------------------------------------------------
# The command


def test_the_command(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    labels = np.zeros((24, 60, 60), np.uint32)
    labels[4:20, 10:50, 10:50] = np.indices((16, 40, 40)).sum(0) // 12 + 1
    np.save(tmp_path / "labels.npy", labels)
    target, picture = tmp_path / "labels.zarr", tmp_path / "levels.png"
    line = [
        "pyramid", str(tmp_path / "labels.npy"), str(target), "--axes", "zyx", "--func", "mode", "--levels", "2",
        "--nodata", "0", "--scale", "z=2,y=1,x=1", "--figure", str(picture),
    ]  # fmt: skip
    assert cli.main(line) == 0
    said = capsys.readouterr().out
    assert "level 1: 12×30×30, scale z 4, y 2, x 2, first at z 1, y 0.5, x 0.5" in said
    assert f"written to {picture}" in said
    assert picture.read_bytes().startswith(b"\x89PNG")
    for one, other in zip(levels_of(target)[1:], pooling.pyramid(labels, 2, 2, "mode", nodata=0), strict=True):
        np.testing.assert_array_equal(one, other)
    assert cli.main(line) == 2
    assert "labels.zarr' exists; name another store, or say --overwrite" in capsys.readouterr().err
    assert cli.main([*line, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--axes", "yx"], "--axes yx names 2 axes, and the source has 3"),
        (["--func", "modus"], "--func modus must be one of"),
        (["--factors", "z=0"], "--factors z=0 must be at least 1, not 0 for 'z'"),
        (["--scale", "1,0,0.5"], "--scale 1,0,0.5 must be finite and above 0"),
        (["--factors", "2x2"], "--factors 2,2 "),
        (["--exact"], "--exact is for modes and medians; levels of func='mean' are exact"),
        (["--figure", "levels.txt"], "--figure levels.txt must end in .png, .svg or .pdf"),
        (["--figure", "no/levels.png"], "--figure no/levels.png: there is no folder no"),
    ],
)
def test_the_command_refuses(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.zeros((4, 5, 6), np.uint8))
    assert cli.main(["pyramid", "a.npy", "a.zarr", "--axes", "zyx", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"pooling pyramid: {sentence}")
    assert os.listdir() == ["a.npy"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--memory", "nan"], "argument --memory: 'nan' must be a number of GiB, such as 0.5, or such as 512MiB"),
        (["--memory", "12 parsecs"], "argument --memory: '12 parsecs' must be a number of GiB"),
        (["--factors", "two"], "argument --factors: 'two' must be a number, one for each axis with commas between"),
        (["--factors", "y=2,y=4"], "argument --factors: 'y=2,y=4' must name each axis once, such as z=1,y=2,x=2"),
        (["--factors", "1.5"], "argument --factors: '1.5' must be whole numbers, such as 2 or z=1,y=2,x=2"),
    ],
)
def test_the_command_does_not_understand(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        cli.main(["pyramid", "a.npy", "a.zarr", *arguments])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"pooling pyramid: {sentence}")
    assert not os.listdir()


def test_the_command_takes_what_people_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    array = volume((8, 50, 60), "uint8")
    np.save("a.npy", array)
    assert cli.main(["pyramid", "a.npy", "a.zarr", "--axes", "z,y,x", "--factors", "1x2x2", "--memory", "64MB"]) == 0
    assert (
        cli.main(["pyramid", "a.npy", "b.zarr", "--axes", "[Z-Y-X]", "--factors", "1,2,2", "--memory", "6.25e-2"]) == 0
    )
    for one, other in zip(levels_of(Path("a.zarr")), levels_of(Path("b.zarr")), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_command_is_ended_and_goes_on(tmp_path):
    """SIGTERM, as a batch system sends it."""
    array = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint16, (128, 256, 256))
    array[:] = np.arange(256, dtype=np.uint16)
    array.flush()
    target = tmp_path / "a.zarr"
    line = [
        sys.executable,
        "-m",
        "pooling",
        "pyramid",
        tmp_path / "a.npy",
        target,
        "--axes",
        "zyx",
        "--memory",
        "0.004",
    ]
    running = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = tmp_path / "a.zarr.unfinished" / "pooling" / "journal"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (journal.exists() and journal.stat().st_size) and running.poll() is None:
        time.sleep(0.005)
    running.terminate()
    _, said = running.communicate(timeout=60)
    assert running.returncode in (0, 2)
    if running.returncode == 2:
        assert "pooling pyramid: stopped by SIGTERM" in said
        assert not target.exists()
        assert subprocess.run(line, check=False, capture_output=True).returncode == 0
    np.testing.assert_array_equal(levels_of(target)[1], pooling.block_reduce(array, 2))


PEAK = """
import sys
from pooling.zarr import write_multiscales
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
import numpy as np
write_multiscales(np.zeros((64, 64, 64), np.uint8), sys.argv[2] + ".small", axes="zyx", levels=1)
before = peak()
write_multiscales(sys.argv[1], sys.argv[2], axes="zyx", levels=3, memory=1 << 24)
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("fortran", [False, True])
def test_pages_of_a_mapped_file_are_given_back(tmp_path, fortran):
    """Rows of some hundred bytes bring the pages around them along; what is mapped stays near what is worked on."""
    shape = (2048, 2048, 128) if fortran else (128, 2048, 2048)
    mapped = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, shape, fortran)
    mapped[:, ::16] = 1  # so that the pages are there
    del mapped
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "a.npy"), str(tmp_path / "a.zarr")],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert int(done.stdout) < 350_000  # kilobytes, of 537,000; all of it was mapped before


def test_nothing_but_zarr_is_overwritten_and_never_the_source(tmp_path):
    array = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "thesis.txt").write_text("mine")
    file = tmp_path / "array.npy"
    np.save(file, array)
    for target in (photos, file):
        with pytest.raises(FileExistsError, match="is no folder of Zarr, and overwrite=True replaces nothing else"):
            write_multiscales(array, target, axes="yx", levels=1, overwrite=True)
    assert (photos / "thesis.txt").read_text() == "mine"
    # Nor a folder that happens to have the name of the unfinished image.
    beside = tmp_path / "image.zarr.unfinished"
    beside.mkdir()
    (beside / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is no folder of Zarr"):
        write_multiscales(array, tmp_path / "image.zarr", axes="yx", levels=1, overwrite=True)
    assert (beside / "thesis.txt").read_text() == "mine"
    group = zarr.open_group(tmp_path / "all.zarr", mode="w")
    inner = group.create_array("source", data=array)
    np.save(tmp_path / "all.zarr" / "mapped.npy", array)
    mapped = np.load(tmp_path / "all.zarr" / "mapped.npy", mmap_mode="r")
    for source in (inner, tmp_path / "all.zarr" / "source", mapped, mapped[:32]):
        with pytest.raises(FileExistsError, match="holds the source or lies in it"):
            write_multiscales(source, tmp_path / "all.zarr", axes="yx", levels=1, overwrite=True)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "all.zarr" / "source", mode="r")[:], array)
    # An empty folder may become an image, and an image another one.
    (tmp_path / "empty").mkdir()
    for _ in range(2):
        write_multiscales(array, tmp_path / "empty", axes="yx", levels=1, overwrite=True)


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("kill", [1, 2])
def test_a_call_that_is_killed_while_names_change_is_made_again(tmp_path, monkeypatch, exists, kill):
    array = np.arange(100 * 100, dtype=np.uint16).reshape(100, 100)
    target = tmp_path / "a.zarr"
    if exists:
        write_multiscales(array // 2, target, axes="yx", levels=1)

    class Killed(BaseException):
        pass

    names = []

    def rename(before, after):
        names.append(after)
        if len(names) == kill:
            raise Killed
        os_rename(before, after)

    os_rename = os.rename
    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(Killed) if kill == 1 or exists else nullcontext():
        write_multiscales(array, target, axes="yx", levels=1, overwrite=exists)
    monkeypatch.undo()
    if kill == 1 or exists:
        write_multiscales(array, target, axes="yx", levels=1, overwrite=exists)
    np.testing.assert_array_equal(zarr.open_array(target / "0", mode="r")[:], array)
    assert os.listdir(tmp_path) == ["a.zarr"]
    assert not (target / "pooling").exists()


def test_gaps_are_no_amounts_in_the_picture():
    from pooling.reporting.levels import Plane, ShownLevel, with_gaps

    plane = Plane(np.array([[-9999, 1], [2, 3]], np.int16), (1.0, 1.0), (0.0, 0.0))
    (level,) = with_gaps([ShownLevel("0", "", "", "", plane, plane)], -9999)
    for each in (level.whole, level.loupe):
        np.testing.assert_array_equal(each.elements, [[np.nan, 1], [2, 3]])


def test_a_source_that_was_changed_meanwhile_is_another_one(tmp_path):
    file = tmp_path / "a.npy"
    array = volume((64, 100, 110), "uint8")
    np.save(file, array)

    def stop(done, total, what):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_multiscales(file, tmp_path / "a.zarr", axes="zyx", levels=2, progress=stop, **SMALL)
    array[30:34, 40:50, 50:60] += 1
    np.save(file, array)
    os.utime(file, ns=(0, 10**15))
    with pytest.raises(FileExistsError, match="of another source, has begun"):
        write_multiscales(file, tmp_path / "a.zarr", axes="zyx", levels=2, **SMALL)


def test_the_source_may_be_changed_in_the_middle_of_a_folder(tmp_path):
    array = volume((64, 100, 110), "uint8")
    for name in ("whole.zarr", "inner"):
        group = zarr.open_group(tmp_path / name, mode="w")
        group.create_array("0", data=array, chunks=(16, 16, 16))
        source = tmp_path / name / "0"

        def stop(done, total, what):
            if done == 5:
                raise KeyboardInterrupt

        target = tmp_path / f"{name}-out.zarr"
        for given in (source, zarr.open_array(source, mode="r")):
            with pytest.raises(KeyboardInterrupt):
                write_multiscales(given, target, axes="zyx", levels=2, progress=stop, **SMALL)
        zarr.open_array(source, mode="r+")[32:48, 48:64, 48:64] = 7
        for given in (source, zarr.open_array(source, mode="r")):
            with pytest.raises(FileExistsError, match="of another source, has begun"):
                write_multiscales(given, target, axes="zyx", levels=2, **SMALL)


def test_a_compressed_tiff_that_was_changed_is_another_one(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    array = volume((64, 100, 110), "uint8")
    tifffile.imwrite(tmp_path / "a.tif", array, compression="zlib", metadata={"axes": "ZYX"})

    def stop(done, total, what):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_multiscales(tmp_path / "a.tif", tmp_path / "a.zarr", levels=2, progress=stop, **SMALL)
    array[30:34, 40:50, 50:60] += 1
    tifffile.imwrite(tmp_path / "a.tif", array, compression="zlib", metadata={"axes": "ZYX"})
    with pytest.raises(FileExistsError, match="of another source, has begun"):
        write_multiscales(tmp_path / "a.tif", tmp_path / "a.zarr", levels=2, **SMALL)


def placed(path, level=0):
    """Units, scale and translation of a level, by letter."""
    image = image_of(path)
    letters = [axis["name"] for axis in image["axes"]]
    units = {axis["name"]: axis["unit"] for axis in image["axes"] if "unit" in axis}
    steps = {each["type"]: each[each["type"]] for each in image["datasets"][level]["coordinateTransformations"]}
    return (
        units,
        dict(zip(letters, steps["scale"], strict=True)),
        dict(zip(letters, steps["translation"], strict=True)),
    )


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_scale_and_units_of_an_image_are_those_of_its_source(tmp_path, version):
    array = volume((6, 40, 50), "uint8")
    given = {
        "scale": {"z": 4.0, "y": 0.5, "x": 0.25},
        "translation": {"z": 1.0, "y": -2.0, "x": 3.0},
        "units": {"z": "micrometer", "x": "nanometer"},
    }
    one = write_multiscales(array, tmp_path / "one.zarr", axes="zyx", levels=1, ome_version=version, **given)
    two = write_multiscales(one, tmp_path / "two.zarr", levels=1)
    for level in (0, 1):
        assert placed(two, level) == placed(one, level)
    assert placed(two, 1)[1:] == ({"z": 8.0, "y": 1.0, "x": 0.5}, {"z": 3.0, "y": -1.75, "x": 3.125})
    # One that is given holds alone: what it means need not go with the others.
    three = write_multiscales(one, tmp_path / "three.zarr", levels=1, scale=2.0)
    assert placed(three) == ({}, dict.fromkeys("zyx", 2.0), dict.fromkeys("zyx", 0.0))
    # An axis that is called otherwise is another one.
    four = write_multiscales(one, tmp_path / "four.zarr", levels=1, axes="tyx")
    assert placed(four)[0] == {"x": "nanometer"}
    assert placed(four)[1] == {"t": 1.0, "y": 0.5, "x": 0.25}


def test_transformations_of_the_whole_image_come_last(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=np.zeros((40, 50), np.uint8))
    group.attrs["multiscales"] = [
        {
            "axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
            "datasets": [
                {
                    "path": "0",
                    "coordinateTransformations": [
                        {"type": "scale", "scale": [2, 3]},
                        {"type": "translation", "translation": [5, 7]},
                    ],
                }
            ],
            "coordinateTransformations": [
                {"type": "scale", "scale": [10, 100]},
                {"type": "translation", "translation": [1, 2]},
            ],
        }
    ]
    made = write_multiscales(tmp_path / "a.zarr", tmp_path / "b.zarr", levels=1)
    assert placed(made) == ({}, {"y": 20.0, "x": 300.0}, {"y": 51.0, "x": 702.0})


@pytest.mark.parametrize(
    "transformations", [[{"type": "scale", "path": "elsewhere"}], [{"type": "scale", "scale": [1]}], ["scale"], 3]
)
def test_transformations_that_cannot_be_read(tmp_path, transformations):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=np.zeros((40, 50), np.uint8))
    group.attrs["multiscales"] = [
        {
            "axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
            "datasets": [{"path": "0", "coordinateTransformations": transformations}],
        }
    ]
    with pytest.raises(ValueError, match=r"the coordinateTransformations of '.*a\.zarr' cannot be read; give scale"):
        write_multiscales(tmp_path / "a.zarr", tmp_path / "b.zarr", levels=1)
    made = write_multiscales(tmp_path / "a.zarr", tmp_path / "b.zarr", levels=1, scale=2)
    assert placed(made)[1] == {"y": 2.0, "x": 2.0}


def test_sizes_of_elements_in_tiffs(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    array = np.zeros((3, 40, 50), np.uint8)
    facts = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 250, "PhysicalSizeYUnit": "nm", "PhysicalSizeZ": 2}
    tifffile.imwrite(tmp_path / "a.ome.tif", array, ome=True, compression="zlib", metadata=facts)
    made = write_multiscales(tmp_path / "a.ome.tif", tmp_path / "a.zarr", levels=1)
    assert placed(made)[:2] == (
        {"z": "micrometer", "y": "nanometer", "x": "micrometer"},
        {"z": 2.0, "y": 250.0, "x": 0.5},
    )
    facts = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "b.tif", array, imagej=True, resolution=(4, 5), metadata=facts)
    made = write_multiscales(tmp_path / "b.tif", tmp_path / "b.zarr", levels=1)
    assert placed(made)[:2] == (dict.fromkeys("zyx", "micrometer"), {"z": 2.0, "y": 0.2, "x": 0.25})
    # A stack whose slices are called times by its program, and a depth by the caller.
    facts["axes"] = "TYX"
    tifffile.imwrite(tmp_path / "t.tif", array, imagej=True, resolution=(4, 5), metadata=facts)
    made = write_multiscales(tmp_path / "t.tif", tmp_path / "t.zarr", levels=1, axes="zyx")
    assert placed(made)[:2] == (dict.fromkeys("zyx", "micrometer"), {"z": 2.0, "y": 0.2, "x": 0.25})
    made = write_multiscales(tmp_path / "t.tif", tmp_path / "u.zarr", levels=1)
    assert placed(made)[:2] == (dict.fromkeys("yx", "micrometer"), {"t": 1.0, "y": 0.2, "x": 0.25})
    # Dots per inch say how large it is on paper.
    tifffile.imwrite(tmp_path / "c.tif", array[0], resolution=(72, 72), metadata={"axes": "YX"})
    made = write_multiscales(tmp_path / "c.tif", tmp_path / "c.zarr", levels=1)
    assert placed(made)[:2] == ({}, {"y": 1.0, "x": 1.0})


def test_a_corner_that_cannot_be_read_is_a_sentence(tmp_path, capsys):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    array = group.create_array("0", data=volume((64, 64), "uint8"), chunks=(32, 32))
    (tmp_path / "a.zarr" / "0" / "c" / "0" / "0").write_bytes(b"garbage")
    with pytest.raises(OSError, match=r"write_multiscales: the source cannot be read at \[0:64, 0:64\] \("):
        write_multiscales(array, tmp_path / "b.zarr", axes="yx")
    line = ["pyramid", str(tmp_path / "a.zarr" / "0"), str(tmp_path / "b.zarr"), "--axes", "yx"]
    assert cli.main(line) == 2
    assert "the source cannot be read at [0:64, 0:64]" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["a.zarr"]


def test_no_part_of_the_source_is_overwritten(tmp_path):
    array = volume((64, 64), "uint8")
    image = write_multiscales(array, tmp_path / "a.zarr", axes="yx", levels=1)
    for source in (image, image / "0", zarr.open_group(tmp_path)["a.zarr/0"]):
        for target in (image, image / "0"):
            with pytest.raises(FileExistsError, match="holds the source or lies in it"):
                write_multiscales(source, target, axes="yx", levels=1, overwrite=True)
    np.testing.assert_array_equal(levels_of(image)[0], array)


def test_lazy_arrays_are_told_what_to_do(tmp_path):
    dask_array, xarray = pytest.importorskip("dask.array"), pytest.importorskip("xarray")
    lazy = dask_array.zeros((4, 5, 6), chunks=2)
    with pytest.raises(TypeError) as caught:
        write_multiscales(lazy, tmp_path / "a.zarr", axes="zyx")
    assert str(caught.value).endswith("; write it to a folder by to_zarr() of dask first, and give that folder")
    with pytest.raises(TypeError) as caught:
        write_multiscales(xarray.DataArray(np.zeros((4, 5)), dims=("y", "x")), tmp_path / "a.zarr")
    assert str(caught.value).endswith("; give source.data, and what its axes are, such as axes='yx'")


@pytest.mark.parametrize(("shape", "example"), [((8, 9, 3), "yxc"), ((8, 9, 7), "zyx"), ((8, 9), "yx")])
def test_axes_that_are_missing_are_guessed_in_the_sentence(tmp_path, shape, example):
    with pytest.raises(ValueError, match=f"give axes, one letter for each of them, such as '{example}'$"):
        write_multiscales(np.zeros(shape, np.uint8), tmp_path / "a.zarr")


def test_what_is_not_finite_is_drawn_as_a_gap():
    pytest.importorskip("matplotlib")
    from pooling.reporting.levels import Plane, ShownLevel, _painter

    plane = Plane(np.array([[0.0, np.inf], [-np.inf, np.nan], [1.0, 0.5]]), (1.0, 1.0), (0.0, 0.0))
    colours = _painter([ShownLevel("0", "", "", "", plane, plane)], False)(plane.elements)
    gaps = np.all(colours == (0.55, 0.7, 0.9), axis=-1)
    np.testing.assert_array_equal(gaps, [[False, True], [True, True], [False, False]])
