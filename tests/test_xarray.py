"""Coarsening of xarray's arrays against xarray's own, and against `pooling.block_reduce`."""

import numpy as np
import pytest

import pooling

xarray = pytest.importorskip("xarray")

from pooling.xarray import coarsen  # noqa: E402  without xarray there is nothing to import


def field(height=6, width=8, time=3):
    random = np.random.default_rng(0)
    return xarray.DataArray(
        random.standard_normal((time, height, width)),
        {
            "time": np.array("2026-01-01", "datetime64[ns]") + np.arange(time) * np.timedelta64(6, "h"),
            "y": ("y", np.linspace(60, 50, height), {"units": "degrees_north"}),
            "x": np.arange(width) * 10,
            "area": (("y", "x"), random.random((height, width))),
            "station": "north",
        },
        ("time", "y", "x"),
        name="temperature",
        attrs={"units": "K"},
    )


@pytest.mark.parametrize("func", ["mean", "sum", "max", "min", "median", "std", "var"])
@pytest.mark.parametrize("windows", [{"y": 2, "x": 4}, {"x": 2}, {"time": 3, "y": 3}, {"x": 8, "y": 6, "time": 3}])
def test_equals_coarsen_of_xarray(func, windows):
    data = field()
    made = coarsen(data, windows, func)
    expected = getattr(data.coarsen(windows), func)()
    xarray.testing.assert_allclose(made, expected)
    assert made.attrs == data.attrs
    assert made.name == data.name
    assert made.y.attrs == data.y.attrs
    assert made.time.dtype == data.time.dtype
    assert list(made.coords) == list(data.coords)


@pytest.mark.parametrize("edge", ["partial", "trim"])
def test_what_is_left_behind_the_last_block(edge):
    data = field(7, 9)
    made = coarsen(data, {"y": 2, "x": 4}, edge=edge)
    np.testing.assert_array_equal(made.values, pooling.block_reduce(data.values, (1, 2, 4), edge=edge))
    np.testing.assert_allclose(made.y.values, pooling.block_reduce(data.y.values, 2, edge=edge))
    if edge == "trim":
        xarray.testing.assert_allclose(made, data.coarsen(y=2, x=4, boundary="trim").mean())
    with pytest.raises(ValueError) as caught:
        coarsen(data, {"y": 2}, edge="error")
    assert "edge='error' and dimension 'y' of 7 elements is not divided by blocks of 2" in str(caught.value)


def test_missing_numbers():
    data = field()
    data[:, :3, :3] = np.nan
    expected = data.coarsen(y=2, x=2).mean()
    xarray.testing.assert_allclose(coarsen(data, {"y": 2, "x": 2}, nodata=np.nan), expected)
    assert np.isnan(coarsen(data, {"y": 2, "x": 2})).sum() > np.isnan(expected).sum()


def test_data_sets():
    data = xarray.Dataset(
        {
            "t": field(),
            "labels": (("y", "x"), np.arange(48).reshape(6, 8) // 5),
            "offset": 3.0,
            "of_time": ("time", [1, 2, 3]),
        },
        attrs={"title": "a field"},
    )
    made = coarsen(data, {"y": 2, "x": 2}, "max")
    xarray.testing.assert_identical(made.t.variable, coarsen(data.t, {"y": 2, "x": 2}, "max").variable)
    np.testing.assert_array_equal(made.labels, pooling.block_reduce(data.labels.values, 2, "max"))
    assert made.labels.dtype == data.labels.dtype
    assert made.offset == 3
    xarray.testing.assert_identical(made.of_time, data.of_time)
    assert made.attrs == data.attrs


def test_functions_of_coordinates():
    data = field()
    data = data.assign_coords(name=("x", list("abcdefgh")))
    for func in ("min", "max", "first"):
        made = coarsen(data, {"x": 2, "time": 2}, coord_func={"x": func, "time": func, "name": "first"})
        at = {"min": [0, 20, 40, 60], "first": [0, 20, 40, 60], "max": [10, 30, 50, 70]}[func]
        np.testing.assert_array_equal(made.x, at)
        np.testing.assert_array_equal(made["name"], list("aceg"))
        np.testing.assert_array_equal(made.time, data.time.values[{"max": [1, 2]}.get(func, [0, 2])])
    with pytest.raises(TypeError) as caught:
        coarsen(data, {"x": 2})
    assert str(caught.value).endswith(
        "which has no mean; use coord_func={'name': 'first'}, or leave it out, as by data.drop_vars('name')"
    )


def test_stays_lazy_where_the_data_is():
    pytest.importorskip("dask")
    data = field(7, 9)
    for chunks in ({"y": 3, "x": 4}, {"time": 1}):
        made = coarsen(data.chunk(chunks), {"y": 2, "x": 4})
        assert made.chunks is not None
        xarray.testing.assert_identical(made.compute(), coarsen(data, {"y": 2, "x": 4}))
    both = coarsen(data.chunk({"y": 3}).to_dataset(), {"y": 2})
    assert both.temperature.chunks is not None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((np.zeros(3), {"x": 2}), "data must be a DataArray or a Dataset, not ndarray; use pooling.block_reduce for"),
        ((field(), 2), "windows=2 must map dimensions to sizes, not int; use {'time': 2}"),
        ((field(), {"X": 2}), "windows={'X': 2} names 'X', and the dimensions are 'time', 'y', 'x'; write 'x'"),
        ((field(), {"x": 0}), "windows={'x': 0} must be at least 1, not 0 for 'x'; 1 keeps a dimension as it is"),
        ((field(), {"x": True}), "windows={'x': True} must be integers, not bool for 'x'"),
        ((field(), {"x": 2}, "average"), "func='average' must be one of"),
    ],
)
def test_sentences(arguments, sentence):
    with pytest.raises((TypeError, ValueError)) as caught:
        coarsen(*arguments)
    assert str(caught.value).startswith(f"xarray.coarsen: {sentence}")


def test_no_data_of_a_data_set_are_those_of_variables_that_may_have_them():
    heights = np.array([[1, np.nan, -9999, 4]], np.float32)
    data = xarray.Dataset(
        {
            "h": (("y", "x"), heights),
            "quality": (("y", "x"), np.array([[1, 2, 255, 255]], np.uint8)),
            "valid": (("y", "x"), np.array([[True, False, True, True]])),
            "time": (("y", "x"), np.array([["2026-01-01", "2026-01-03", "NaT", "2026-01-05"]], "M8[ns]")),
            "offset": 3.0,
        }
    )
    made = coarsen(data, {"x": 2}, nodata=np.nan)
    np.testing.assert_array_equal(made.h, [[1, -4997.5]])
    np.testing.assert_array_equal(made.quality, [[2, 255]])  # half to even
    np.testing.assert_array_equal(made.valid, [[0.5, 1]])
    np.testing.assert_array_equal(made.time, np.array([["2026-01-02", "2026-01-05"]], "M8[ns]"))
    np.testing.assert_array_equal(coarsen(data, {"x": 2}, nodata=-9999).h, [[np.nan, 4]])
    made = coarsen(data, {"x": 2}, "max", nodata=255)
    np.testing.assert_array_equal(made.quality, [[2, 255]])
    np.testing.assert_array_equal(made.h, [[np.nan, 4]])
    whole = data[["quality"]]
    for given, number in ((data[["quality"]], np.nan), (whole, -1), (whole, 2.5)):
        with pytest.raises(ValueError) as caught:
            coarsen(given, {"x": 2}, nodata=number)
        assert str(caught.value).startswith(
            f"xarray.coarsen: variable 'quality': nodata={number} is no number of uint8"
        )
    assert coarsen(whole, {"x": 2}, "min", nodata=1.0).quality.values.tolist() == [[2, 255]]


def test_times_are_reduced_as_data_too():
    times = np.array(["2026-01-01", "2026-01-03", "2026-01-04", "NaT"], "M8[ns]")
    for dtype in ("M8[ns]", "m8[ns]"):
        data = xarray.DataArray(times.view("i8").view(dtype), dims="x", name="start")
        for func in ("mean", "min", "max", "median"):
            # What is missing is left out, as from coordinates.
            first = {"min": "2026-01-01", "max": "2026-01-03"}.get(func, "2026-01-02")
            expected = np.array([first, "2026-01-04"], "M8[ns]").view("i8").view(dtype)
            made = coarsen(data, {"x": 2}, func)
            assert made.dtype == dtype
            np.testing.assert_array_equal(made, expected)
            if func != "median":
                whole = data[:2]
                xarray.testing.assert_identical(coarsen(whole, {"x": 2}, func), getattr(whole.coarsen(x=2), func)())
    with pytest.raises(TypeError) as caught:
        coarsen(data, {"x": 2}, "std")
    assert str(caught.value).endswith("start has dtype timedelta64[ns], which has no std; convert it")
    with pytest.raises(TypeError, match=r"leave it out, as by data.drop_vars\('start'\)$"):
        coarsen(data.to_dataset(), {"x": 2}, "std")


def test_dtypes_of_pandas_are_no_numbers():
    """Times of a zone have the kind of times, and integers with gaps that of integers; NumPy knows neither."""
    pandas = pytest.importorskip("pandas")
    times = pandas.date_range("2026-01-01", periods=4, tz="Europe/Berlin")
    data = xarray.DataArray(np.arange(4.0), {"x": times}, "x")
    with pytest.raises(TypeError, match=r"the coordinate x has dtype .*, which has no mean; use coord_func={'x': 'fir"):
        coarsen(data, {"x": 2})
    made = coarsen(data, {"x": 2}, coord_func="first")
    np.testing.assert_array_equal(made, [0.5, 2.5])
    assert made.indexes["x"].equals(times[::2])
    gaps = pandas.array([1, None, 3, 4], dtype="Int64")
    for nodata in (None, 3):
        with pytest.raises(TypeError, match=r"n has dtype Int64, which has no mean; leave it out"):
            coarsen(xarray.Dataset({"n": ("x", gaps)}), {"x": 2}, nodata=nodata)


def test_indices_of_several_levels_keep_their_first_elements():
    data = xarray.DataArray(np.arange(12.0).reshape(3, 4), {"a": list("abc"), "b": [1, 2, 3, 4]}, ("a", "b"))
    stacked = data.stack(p=("a", "b"))
    for func in ("first", {"p": "first"}):
        for given in (stacked, stacked.to_dataset(name="d")):
            made = coarsen(given, {"p": 2}, coord_func=func)
            values = made if given is stacked else made.d
            np.testing.assert_array_equal(values, np.arange(0.5, 12, 2))
            assert made.indexes["p"].equals(stacked.indexes["p"][::2])
            np.testing.assert_array_equal(values.sel(a="b", b=3), 6.5)
            assert made.a.values.tolist() == list("aabbcc")
    made = coarsen(stacked, {"p": 5}, coord_func="first", edge="trim")
    assert made.indexes["p"].equals(stacked.indexes["p"][:10:5])
    with pytest.raises(TypeError) as caught:
        coarsen(stacked, {"p": 2})
    assert "the coordinate p has dtype object, which has no mean; use coord_func={'p': 'first'}" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"windows": {"x": 2}, "coord_func": {"areas": "min"}},
            "coord_func={'areas': 'min'} names 'areas', and the coordinates are 'time', 'y', 'x', 'area', 'station'; "
            "write 'area'",
        ),
        ({"windows": {"x": 2}, "coord_func": "mode2"}, "coord_func='mode2' must be one of"),
        ({"windows": {"x": 2}, "coord_func": {"x": "mode2"}}, "coord_func='mode2' must be one of"),
        (
            {"windows": {"x": 9}, "edge": "trim"},
            "edge='trim' leaves nothing of dimension 'x' of 8 elements, which is shorter than a block of 9; use "
            "edge='partial' to reduce what is there",
        ),
    ],
)
def test_sentences_of_coordinates(arguments, sentence):
    with pytest.raises((TypeError, ValueError)) as caught:
        coarsen(field(), **arguments)
    assert str(caught.value).startswith(f"xarray.coarsen: {sentence}")
