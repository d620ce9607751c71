"""Small edits of the kernels and of the geometry, each of which some test has to notice.

    python tests/mutants.py [--only WORD] [--jobs 2]

All edits are compiled into one build, the lowest level at -O1, each behind a question about the environment variable
``POOLING_MUTANT`` (mutant schemata, after Untch, 1993); so there is one build to wait for, and a run of the tests for
each edit, which ends with the first test that fails. The exit code is 1 where an edit went unnoticed. The tests of one
process see one level only, so that those that compare levels have nothing to compare.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / "build" / "mutants"
SECONDS = 900
"""After so many a run of tests has no end."""
LEVEL = "x86-64-v2" if os.uname().machine == "x86_64" else "generic"


class Mutant(NamedTuple):
    """One edit.

    Attributes
    ----------
    name : str
        What is wrong then.
    path : str
        The file.
    line : str
        A piece of it that stands there once, with the expression that changes in ``«`` and ``»``.
    instead : str
        The expression that takes its place.
    tests : str
        What is asked first: test files, or tests of them.
    """

    name: str
    path: str
    line: str
    instead: str
    tests: str = ""


AVERAGES = "test_functional::test_the_average_by_every_path"
MAXIMA = "test_functional::test_maximum_and_minimum_by_every_path"
INTEGERS = "test_functional::test_maximum_and_minimum_of_integers_and_bool_by_every_path"
GRADIENTS = "test_gradients::test_the_gradient_of_an_average_by_every_path"
OF_MAXIMA = "test_gradients::test_the_gradient_of_a_maximum_by_every_path"
NARROW = "test_functional::test_no_kernel_reads_or_writes_beyond_narrow_planes"

MUTANTS: tuple[Mutant, ...] = (
    # --- where windows lie ---
    Mutant(
        "ceil_mode keeps a window that begins where the input ends",
        "pooling/geometry.py",
        "effective, stride), «(size + begin - 1) // stride + 1»)",
        "(size + begin) // stride + 1",
        "test_geometry",
    ),
    Mutant(
        "same_lower pads as same_upper does",
        "pooling/geometry.py",
        "pairs.append(«(larger, smaller) if name == SAME_LOWER else (smaller, larger)»)",
        "(smaller, larger)",
        "test_geometry",
    ),
    Mutant(
        "what ceil_mode adds counts as padding",
        "pooling/geometry.py",
        "padded_end = «self.input_size + self.pad_end»",
        "self.input_size + self.pad_end + self.ceil_overhang",
        "test_geometry",
    ),
    Mutant(
        "the first whole window is rounded down",
        "pooling/geometry.py",
        "begin = min(«-(-self.pad_begin // self.stride)», self.output_size)",
        "self.pad_begin // self.stride",
        "test_geometry",
    ),
    Mutant(
        "adaptive windows end at a floor",
        "pooling/geometry.py",
        "stop = («-(-((exact + 1) * self.input_size) // self.output_size)»)",
        "(exact + 1) * self.input_size // self.output_size",
        "test_geometry::test_adaptive_windows_run_from_floor_to_ceil",
    ),
    Mutant(
        "the first tap inside the input forgets the dilation",
        "pooling/geometry.py",
        "Windows(output, «start + skipped * self.dilation», count, divisor)",
        "start + skipped",
        "test_geometry",
    ),
    Mutant(
        "the stride is 1 by default",
        "pooling/geometry.py",
        "sequence(stride) == []:\n        return «kernel_size»",
        "(1,) * len(kernel_size)",
        f"{AVERAGES}[narrow_planes_as_they_lie-counting_padding]",
    ),
    Mutant(
        "padding may be as large as the window",
        "pooling/geometry.py",
        "largest is None and «max(pair) >= reach»",
        "max(pair) > reach",
        "test_functional::test_any_call_answers_as_the_reference[max_pool1d-float32] test_errors",
    ),
    Mutant(
        "a window that begins at a cell does not hold it",
        "pooling/geometry.py",
        'last = np.searchsorted(windows.first, cells, side=«"right"»)',
        '"left"',
        f"{GRADIENTS}[adaptive_windows_of_two_sizes-counting_padding]",
    ),
    # --- what is chosen for them ---
    Mutant(
        "eight times as many roundings to float32",
        "pooling/calls.py",
        "EXACT_ROUNDINGS = «8»",
        "64",
        "test_accuracy::test_roundings_that_all_go_one_way",
    ),
    Mutant(
        "a view in the other layout takes the wrong axis for channels",
        "pooling/maps.py",
        "first, axes = «rank - dimensions - 1», list(range(rank))",
        "rank - dimensions",
        "test_arrays test_ranks_and_layouts",
    ),
    Mutant(
        "a window that holds everything forgets padding that counts",
        "pooling/plan.py",
        "«int(cut.divisor[0]) if len(cut.divisor) else axis.kernel_size»",
        "axis.input_size",
        f"{AVERAGES}[kernel_larger_than_the_input-counting_padding]",
    ),
    Mutant(
        "windows behind the whole ones are looked up in the wrong place",
        "pyx/pooling/_core.pxd",
        "output if output < axis.begin else output - «(axis.end - axis.begin)»",
        "axis.end",
        f"{AVERAGES}[wide_rows_stride_2-counting_padding] {MAXIMA}[wide_rows_stride_2-propagate] {AVERAGES}",
    ),
    Mutant(
        "the last row under a band is left out",
        "pyx/pooling/_core.pxd",
        "return min(«(outputs - 1) * axis.stride + (axis.kernel_size - 1) * axis.dilation + 1», axis.input_size)",
        "(outputs - 1) * axis.stride + (axis.kernel_size - 1) * axis.dilation",
        f"{MAXIMA}[ladder-propagate] {MAXIMA}",
    ),
    Mutant(
        "planes whose last column is dropped count as a stack",
        "pyx/core.pyx",
        "height.input_size % height.stride == 0 and «width.input_size % width.stride == 0»",
        "True",
        f"{AVERAGES}[narrow_planes_whose_last_column_alone_is_dropped-counting_padding]",
    ),
    Mutant(
        "pieces have no rows for the dilation",
        "pyx/core.pyx",
        "more = «(height.kernel_size - 1) * height.dilation // height.stride»",
        "(height.kernel_size - 1) // height.stride",
        f"{MAXIMA}[narrow_planes_dilated-propagate] {MAXIMA}",
    ),
    # --- forward ---
    Mutant(
        "a row is read one cell too far",
        "pyx/bands.pxi",
        "right = min(max(«cell + cells - axis.input_size», 0), cells - left)",
        "cell + cells - axis.input_size - 1",
        f"{MAXIMA}[wide_rows_of_65_columns-propagate]",
    ),
    Mutant(
        "windows at borders are divided by the whole kernel",
        "pyx/bands.pxi",
        "leaves.divide(row, n * plan.inner, of_rows * <double> «window.divisor»)",
        "axis.kernel_size",
        f"{AVERAGES}[wide_rows_of_65_columns-not_counting_padding]",
    ),
    Mutant(
        "windows between channels slide by one",
        "pyx/bands.pxi",
        "inner, «axis.stride * inner», False, NULL)",
        "inner",
        f"{AVERAGES}[eight_channels-counting_padding] {AVERAGES}",
    ),
    Mutant(
        "the dilation of the depth is dropped",
        "pyx/bands.pxi",
        "depth_step = «plan.axes[0].dilation * plan.in_plane»",
        "plan.in_plane",
        f"{MAXIMA}[depth_dilated_of_wide_rows-propagate]",
    ),
    Mutant(
        "the second plane of a window replaces the first",
        "pyx/bands.pxi",
        "leaves.across_stored(dst, src, height_step, height.count, n, 1, rows, dst_row, src_row, «d > 0», NULL)",
        "d > 1",
        f"{AVERAGES}[depth_of_wide_rows-counting_padding]",
    ),
    Mutant(
        "the last window of a stack is not made",
        "pyx/flat.pxi",
        "rows * row - width.begin - («row - width.end»), 1, 1",
        "row - width.end + 1",
        f"{AVERAGES}[rows_of_one_length-counting_padding] {AVERAGES}",
    ),
    Mutant(
        "padding of rows and columns is mixed up",
        "pyx/stacks.pxi",
        "dst += («plan.axes[1].pad_begin * planes.width + plan.axes[2].pad_begin») * leaves.value",
        "plan.axes[2].pad_begin * planes.width + plan.axes[1].pad_begin",
        f"{AVERAGES}[narrow_planes_padded_on_one_side-counting_padding]",
    ),
    Mutant(
        "the last row is overrun",
        "pyx/stacks.pxi",
        "exact = min(«exact», rows)",
        "max(exact - 1, 0)",
        f"{NARROW}",
    ),
    Mutant(
        "vectors reach behind the last plane",
        "pyx/stacks.pxi",
        "followed = min(«plan.outer - plane - ceil_divide(8, in_plane)», count)",
        "plan.outer - plane",
        f"{NARROW}",
    ),
    Mutant(
        "the last strip of one column is dropped",
        "pyx/strips.pxi",
        "while «stop < made»:",
        "stop < made - 1",
        f"{AVERAGES}[strips_of_65_columns-counting_padding] {AVERAGES}[strips_of_257_columns-counting_padding]",
    ),
    Mutant(
        "the ring of columns has no room for those that come next",
        "pyx/strips.pxi",
        "strip.kept = round_up((strip.outputs + taps) * plan.inner, STRIP) + «STRIP»",
        "0",
        f"{AVERAGES}[strips_of_257_columns-counting_padding] test_memory::test_large_windows_are_right",
    ),
    Mutant(
        "every part of a row is divided as its first",
        "pyx/strips.pxi",
        "of_column = <double> window_of(&plan.axes[2], «output + o»).divisor",
        "o",
        f"{AVERAGES}[strips_of_257_columns-not_counting_padding]",
    ),
    Mutant(
        "the last run of a ladder lies one tap too early",
        "pyx/ladder.pxi",
        "src += («ladder.taps - power») * rung.apart * rung.size",
        "ladder.taps - power - 1",
        f"{MAXIMA}[ladder-propagate] {MAXIMA}",
    ),
    Mutant(
        "rungs of rows forget the dilation",
        "pyx/ladder.pxi",
        "rung.apart = «axis.dilation * n»",
        "n",
        f"{AVERAGES}[ladder_dilated-counting_padding] {MAXIMA}[ladder_dilated-propagate]",
    ),
    Mutant(
        "dilated neighbours share a core",
        "pyx/cores.pxi",
        "lattice.apart = «axis.dilation // common_divisor(axis.dilation, axis.stride)»",
        "1",
        "test_memory::test_large_windows_are_right",
    ),
    Mutant(
        "all windows of a tile are divided as the first",
        "pyx/cores.pxi",
        "of_rows * <double> window_of(width, «columns.output + j * columns.apart»).divisor",
        "columns.output",
        "test_memory::test_large_windows_are_right",
    ),
    # --- indices ---
    Mutant(
        "the first element behind the padding is counted without dilation",
        "pyx/argmax_stacks.pxi",
        "return max(ceil_divide(axis.pad_begin - output * axis.stride, axis.dilation), 0) * «axis.dilation»",
        "1",
        "test_functional::test_padding_never_wins_over_elements_as_good",
    ),
    Mutant(
        "the last row of a phase is left out",
        "pyx/argmax_stacks.pxi",
        "end = min(max(ceil_divide(«height.input_size - top - phase», height.stride), begin), end)",
        "height.input_size - top - phase - 1",
        f"{MAXIMA}[many_planes_stride_3-propagate]",
    ),
    Mutant(
        "indices count from the first element and not from the first tap",
        "pyx/argmax_rows.pxi",
        "offset = (depth_origin * height_axis.input_size + «height_origin») * plane_row",
        "height.first",
        f"{MAXIMA}[wide_rows_of_65_columns-propagate] {MAXIMA}",
    ),
    Mutant(
        "the second of two taps side by side is the first",
        "pyx/argmax_rows.pxi",
        "pick_pixels(picked + i * outputs * size, src + («t + i») * taps.apart * size, outputs, stride, size)",
        "t",
        "test_functional::test_argmaxes_among_pixels_of_few_channels_are_those_of_planes",
    ),
    Mutant(
        "the last pixel takes with it what lies behind it",
        "pyx/argmax_rows.pxi",
        "memcpy(dst + (n - 1) * size, src + (n - 1) * apart * size, «size»)",
        "block",
        "test_functional::test_argmaxes_among_pixels_of_few_channels_are_those_of_planes",
    ),
    Mutant(
        "behind the last pixel of a row lies what was there before, not padding",
        "pyx/argmax_rows.pxi",
        "(front + touched) * inner * argmax.value, «(n - front - touched) * inner», NULL)",
        "0",
        "test_functional::test_argmaxes_among_pixels_of_few_channels_are_those_of_planes",
    ),
    Mutant(
        "pixels of several channels are named as if there were one",
        "pyx/argmax_rows.pxi",
        "index[o * inner + c] = base + where[«o * inner + c»]",
        "o * inner",
        "test_functional::test_argmaxes_among_pixels_of_few_channels_are_those_of_planes",
    ),
    Mutant(
        "rows of argmaxes are as long as rows of the result",
        "pyx/argmax_stacks.pxi",
        "taps.place = «height.dilation * width.input_size»",
        "height.dilation * width.output_size",
        f"{MAXIMA}[adaptive_many_planes-propagate]",
    ),
    Mutant(
        "the first line of a long window does not compete",
        "pyx/argmax_long.pxi",
        "while «line >= first»:",
        "line > first",
        "test_long_windows::test_tiles_and_strips_by_any_number_of_threads test_long_windows",
    ),
    Mutant(
        "the last cell of a long row is padding",
        "pyx/argmax_long.pxi",
        "end = max(min(cells, «input_size - origin»), begin)",
        "input_size - origin - 1",
        "test_long_windows::test_ends_of_rows_whose_windows_are_too_wide_for_runs test_long_windows",
    ),
    Mutant(
        "the last of equals wins",
        "pyx/reducers.pxd",
        "return «(not v <= best) & (best == best)»",
        "(not v < best) & (best == best)",
        f"{MAXIMA}[narrow_planes_padded-propagate]",
    ),
    Mutant(
        "a later NaN does not win",
        "pyx/reducers.pxd",
        "if reducer == GREATEST or reducer == SMALLEST:\n                return «m if b == b else b»",
        "m",
        f"{MAXIMA}[narrow_planes_padded-propagate]",
    ),
    Mutant(
        "the last of equal smallest integers wins",
        "pyx/reducers.pxd",
        "return v > best\n        return «v < best»",
        "v <= best",
        f"{INTEGERS}[narrow_planes_padded]",
    ),
    Mutant(
        "a window of nothing but NaN is infinite where NaN is ignored",
        "pyx/reducers.pxd",
        "return «<value_t> NAN»",
        "empty(kind, reducer)",
        "test_functional::test_any_call_answers_as_the_reference[max_pool1d-float32] test_functional",
    ),
    # --- rows ---
    Mutant(
        "a strip of one cell is dropped",
        "pyx/across.pxd",
        "if «x < n»:\n        windows_block(",
        "x + 1 < n",
        "test_functional::test_every_column_of_long_windows_counts",
    ),
    Mutant(
        "a strip of one cell is dropped where sums are wider",
        "pyx/across.pxd",
        "if «x < n»:\n        widen_windows_block(",
        "x + 1 < n",
        f"{AVERAGES}[strips_of_65_columns-counting_padding]",
    ),
    Mutant(
        "the last value of a run is left out",
        "pyx/across.pxd",
        "while «i < n»:\n        result = combine(result, src[i], reducer)",
        "i < n - 1",
        f"{MAXIMA}[runs_of_an_odd_length-propagate]",
    ),
    Mutant(
        "the last block of a run is a whole one",
        "pyx/across.pxd",
        "result = combine(result, run(src + x * step + i, «min(taps - i, BLOCK)», reducer), reducer)",
        "BLOCK",
        "test_functional::test_long_runs_end_where_they_should",
    ),
    Mutant(
        "means keep the sign of a NaN",
        "pyx/division.pxd",
        "v = row[x] / d\n            row[x] = «v if v == v else <real_t> NAN»",
        "v",
        "test_nan_means::test_every_nan_is_the_same_one",
    ),
    Mutant(
        "float16 rounds halves up",
        "pyx/conversions.pxd",
        "normal = (magnitude - <uint32_t> 0x37fff001 + («(magnitude >> 13) & 1»)) >> 13",
        "1",
        "test_accuracy::test_halves_are_rounded_once_and_ties_to_even",
    ),
    Mutant(
        "bfloat16 rounds halves down",
        "pyx/conversions.pxd",
        "rounded = (bits + 0x7fff + («(bits >> 16) & 1»)) >> 16",
        "0",
        "test_accuracy::test_halves_are_rounded_once_and_ties_to_even",
    ),
    Mutant(
        "integers that are too large wrap",
        "pyx/conversions.pxd",
        "v = «most if v > most else v»",
        "v",
        "test_integer_means",
    ),
    Mutant(
        "halves of whole numbers are rounded up",
        "pyx/division.pxd",
        "return q + 1 if r > b - r or (r == b - r and «q & 1») else q",
        "1",
        "test_integer_means",
    ),
    Mutant(
        "half_up rounds halves down",
        "pyx/division.pxd",
        "rounding == HALF_UP and «q - whole >= <real_t> 0.5»",
        "q - whole > <real_t> 0.5",
        "test_integer_means::test_ties_of_a_divisor_with_places_are_decided_as_asked",
    ),
    Mutant(
        "quotients below 0 are rounded towards 0",
        "pyx/division.pxd",
        "if «r < 0»:",
        "False",
        "test_integer_means",
    ),
    Mutant(
        "logarithms use one part of log(2)",
        "pyx/elementary.pxd",
        "quotient.low += all_of_it.low + «k * 5.497923018708371e-14»",
        "0.0",
        "test_elementary",
    ),
    # --- backward ---
    Mutant(
        "the last window that holds a cell gives it nothing",
        "pyx/spread.pxi",
        "covering.stop = min((last + axis.pad_begin) // axis.stride + «1», axis.output_size)",
        "0",
        f"{GRADIENTS}[wide_rows_stride_2-counting_padding] {GRADIENTS}",
    ),
    Mutant(
        "cells between dilated taps get a gradient",
        "pyx/spread.pxi",
        "return axis.adaptive or «(cell + axis.pad_begin - output * axis.stride) % axis.dilation == 0»",
        "True",
        f"{GRADIENTS}[depth_dilated_ceil-counting_padding] {GRADIENTS}",
    ),
    Mutant(
        "too few bytes are cleared",
        "pyx/scatter.pxi",
        "memset(sums, 0, «cells * leaves.sum.value»)",
        "cells",
        f"{OF_MAXIMA}",
    ),
    Mutant(
        "windows tile a row whose last cells none of them holds",
        "pyx/spread.pxi",
        "or «axis.input_size % axis.stride» or axis.input_size // axis.stride",
        "0",
        f"{GRADIENTS}[narrow_planes_whose_last_column_is_dropped-counting_padding] {GRADIENTS}",
    ),
    Mutant(
        "gradients are not moved by the padding",
        "pyx/spread.pxi",
        "out, in_row, line + «width.pad_begin * leaves.storage»,",
        "0",
        f"{GRADIENTS}[many_planes_stride_3-counting_padding] {GRADIENTS}",
    ),
    # --- families ---
    Mutant(
        "the last of equal magnitudes gets the gradient of the infinite norm",
        "pyx/norms.pxi",
        "if result.first_largest < 0 or «v > result.largest» or",
        "v >= result.largest",
        "test_norms",
    ),
    Mutant(
        "generalised means are divided by the channels too",
        "pyx/norms.pxi",
        "count = «elements_of(plan, False) // plan.inner»",
        "elements_of(plan, False)",
        "test_norms",
    ),
    Mutant(
        "2-norms that overflow are taken as they are",
        "pyx/norms.pxi",
        "norm.high = «2.0 ** 1000»",
        "INFINITY",
        "test_norms",
    ),
    Mutant(
        "blurs keep the sign of a NaN",
        "pyx/blurs.pxi",
        "out[c] = «out[c] if out[c] == out[c] else NAN»",
        "out[c]",
        "test_blurring::test_every_nan_is_the_same_one",
    ),
    Mutant(
        "too few sums of rows are cleared",
        "pyx/blurs.pxi",
        "memset(row, 0, «n * sizeof(double)»)",
        "n",
        "test_blurring",
    ),
    Mutant(
        "the last of equal elements of a region gets the gradient",
        "pyx/regions.pxi",
        "if index < 0 or «value > greatest_value» or",
        "value >= greatest_value",
        "test_regions",
    ),
    Mutant(
        "samples on the far border are off the map",
        "pyx/regions.pxi",
        "or («with_bound and at == bound»):",
        "False",
        "test_regions",
    ),
    Mutant(
        "rows begin where columns of another map do",
        "pyx/fractional.pxi",
        "return task.starts[axis] + plane * «task.output_size[axis]»",
        "task.output_size[2]",
        "test_fractional",
    ),
    Mutant(
        "only one channel is cleared",
        "pyx/unpooling.pxi",
        "memset(dst, 0, «cells * inner * sizeof(bits_t)»)",
        "cells * sizeof(bits_t)",
        "test_unpooling",
    ),
    Mutant(
        "elements that were overwritten get a gradient",
        "pyx/unpooling.pxi",
        "dst[at] = «0 if taken[to] else src[to]»",
        "src[to]",
        "test_unpooling",
    ),
    Mutant(
        "samples of columns place rows",
        "pyx/fractional.pxi",
        "task.sample_of[i] = i if axes == 3 else «max(2 - i, 0)» % axes",
        "(i + 1)",
        "test_fractional",
    ),
    Mutant(
        "windows over the end of a row go on in the next one",
        "pyx/unpooling.pxi",
        "high = «min(left + windows.taps[2], windows.size[2])»",
        "left + windows.taps[2]",
        "test_unpool_windows",
    ),
    Mutant(
        "lanes forget a NaN",
        "pyx/c/regions.h",
        "missing[p] |= «value != value»;",
        "value < value",
        "test_region_lanes",
    ),
    # --- the team ---
    Mutant(
        "one slot too many",
        "pyx/c/team.h",
        "ptrdiff_t slots = «run->threads - 1»;",
        "run->threads",
        "test_threads::test_any_number_of_threads_makes_the_same_bytes test_team",
    ),
    Mutant(
        "one part too many is claimed",
        "pyx/c/team.h",
        "if («part >= run->parts») return;",
        "part > run->parts",
        "test_team::test_no_worker_has_a_slot_that_the_memory_has_not test_threads",
    ),
)

TESTS = (
    "test_functional",
    "test_gradients",
    "test_reference",
    "test_geometry",
    "test_threads",
    "test_norms",
    "test_blurring",
    "test_regions",
    "test_fractional",
    "test_unpooling",
    "test_arrays",
    "test_layers",
)
"""Files of tests that see kernels and geometry, in the order in which they are asked."""

IN_C = """
#include <stdlib.h>
#ifndef POOLING_MUTANT
#define POOLING_MUTANT
static inline int pooling_mutant(void) {
    static int chosen = -1;
    const char* given;
    if (chosen < 0) {
        given = getenv("POOLING_MUTANT");
        chosen = given ? atoi(given) : 0;
    }
    return chosen;
}
#endif
"""
IN_CYTHON = f'cdef extern from *:\n    """{IN_C}"""\n    int MUTANT "pooling_mutant"() nogil\n\n'
IN_PYTHON = 'import os as _os\n\n_MUTANT = int(_os.environ.get("POOLING_MUTANT", 0))\n'


def edited(text: str, number: int, mutant: Mutant) -> str:
    """Put one edit into a file, behind the question whether it is asked for."""
    begin, middle, end = mutant.line.replace("»", "«").split("«")
    whole = f"{begin}{middle}{end}"
    if text.count(whole) != 1:
        raise SystemExit(
            f"mutants: {whole!r} stands {text.count(whole)} times in {mutant.path}, and must stand there once"
        )
    if mutant.path.endswith(".h"):
        either = f"(pooling_mutant() == {number} ? ({mutant.instead}) : ({middle}))"
    else:
        asked = "MUTANT()" if mutant.path.startswith("pyx/") else "_MUTANT"
        either = f"(({mutant.instead}) if {asked} == {number} else ({middle}))"
    return text.replace(whole, f"{begin}{either}{end}")


def with_question(path: str, text: str) -> str:
    """Put the question before the first definition of a file."""
    if path.endswith(".h"):
        return IN_C + text
    lines = text.splitlines(keepends=True)
    begins = ("cdef ", "cimport ", "from ", "ctypedef ") if path.startswith("pyx/") else ("import ", "from ")
    question = IN_CYTHON if path.startswith("pyx/") else IN_PYTHON
    at = next(i for i, line in enumerate(lines) if line.startswith(begins) and "__future__" not in line)
    return "".join([*lines[:at], question, *lines[at:]])


def build() -> None:
    """Copy the repository, edit it, and compile it."""
    shutil.rmtree(TREE, ignore_errors=True)
    skipped = shutil.ignore_patterns("*.so", "__pycache__")
    for name in ("pooling", "export", "pyx", "benchmarks", "docs"):
        shutil.copytree(ROOT / name, TREE / name, ignore=skipped)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "Makefile", "CHANGELOG.md"):
        shutil.copy2(ROOT / name, TREE)
    (TREE / "pooling" / "export").symlink_to(TREE / "export")
    setup = TREE / "setup.py"
    # What is inlined by order alone takes most of the time of the compiler, and changes no value.
    setup.write_text(
        setup.read_text().replace('"-O3"', '"-O1"').replace("inline __attribute__((always_inline))", "inline")
    )
    files = dict.fromkeys(mutant.path for mutant in MUTANTS)
    for path in files:
        text = (TREE / path).read_text()
        for number, mutant in enumerate(MUTANTS, 1):
            if mutant.path == path:
                text = edited(text, number, mutant)
        (TREE / path).write_text(with_question(path, text))
    environment = {**os.environ, "POOLING_LEVELS": LEVEL, "POOLING_MUTANT": "0"}
    subprocess.run([sys.executable, "setup.py", "build_ext", "--inplace"], cwd=TREE, env=environment, check=True)


def run(number: int, asked: list[str]) -> str | None:
    """Run tests with one edit; return the test that failed first, or None."""
    environment = {
        **os.environ,
        "POOLING_MUTANT": str(number),
        "PYTHONPATH": str(TREE),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *asked]
    # Without an edit there is an end, however long it takes.
    seconds = SECONDS if number else None
    try:
        done = subprocess.run(command, cwd=TREE, env=environment, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        # On a busy machine that tells nothing.
        print(f"{number:3} no end within {SECONDS} s of {' '.join(asked)}", flush=True)
        return None
    if done.returncode == 0:
        return None
    if done.returncode in (4, 5):
        raise SystemExit(f"mutants: pytest ran no tests:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    named = [line.split(" ", 1)[1] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    # A process that dies has named no test; it was busy with one of those that it was asked for.
    return named[0].split(" - ")[0] if named else f"{asked[0]} and after: exit code {done.returncode}"


def paths(tests: Iterable[str]) -> list[str]:
    """Write out what pytest is asked for, as far as it is there; a file takes the place of its tests."""
    found: dict[str, None] = {}
    for test in dict.fromkeys(tests):
        name, colons, rest = test.partition("::")
        if (TREE / "tests" / f"{name}.py").exists():
            found[f"tests/{name}.py{colons}{rest}"] = None
    return list(found)


def judged(number: int) -> tuple[int, str | None, float]:
    """Ask the tests about one edit: those that are to notice it, and then the others."""
    begin = time.monotonic()
    first = paths(MUTANTS[number - 1].tests.split())
    noticed = run(number, first) if first else None
    if noticed is None:
        noticed = run(number, paths(TESTS))
    return number, noticed, time.monotonic() - begin


def main() -> int:
    """Build, see that the tests pass without any edit, and ask about each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="ask about edits whose name or file has this in it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs of the tests at a time")
    parser.add_argument("--list", action="store_true", help="print the edits and end")
    parser.add_argument("--no-build", action="store_true", help="take the build of the last time")
    options = parser.parse_args()
    chosen = [n for n, mutant in enumerate(MUTANTS, 1) if options.only in f"{mutant.name} {mutant.path}"]
    if options.list:
        for number in chosen:
            print(f"{number:3} {MUTANTS[number - 1].path:28} {MUTANTS[number - 1].name}")
        return 0
    if not options.no_build:
        build()
    shutil.copytree(ROOT / "tests", TREE / "tests", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    code = "import pooling, pooling.dispatch; print(pooling.__file__, pooling.dispatch.kernels.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(TREE)},
        cwd="/",
        capture_output=True,
        text=True,
    ).stdout.split()
    if len(where) != 2 or not all(path.startswith(str(TREE)) for path in where):
        raise SystemExit(f"mutants: the tests would see {' and '.join(where) or 'no build'}, and not {TREE}")
    begin = time.monotonic()
    failed = run(0, paths(test for number in chosen for test in MUTANTS[number - 1].tests.split()))
    print(f"without an edit: {failed or 'these tests pass'} ({time.monotonic() - begin:.0f} s)", flush=True)
    if failed:
        return 2
    alive, by_file = [], Counter[str]()
    with ThreadPoolExecutor(options.jobs) as pool:
        for number, noticed, seconds in pool.map(judged, chosen):
            mutant = MUTANTS[number - 1]
            verdict = "noticed by" if noticed else "NOT NOTICED"
            print(f"{number:3} {mutant.path}: {mutant.name}: {verdict} {noticed or ''} ({seconds:.0f} s)", flush=True)
            if noticed:
                by_file[noticed.rpartition("/")[2].partition("::")[0]] += 1
            else:
                alive.append(mutant.name)
    print(
        f"{len(chosen) - len(alive)} of {len(chosen)} noticed", *(f"{n} in {file}" for file, n in by_file.most_common())
    )
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
