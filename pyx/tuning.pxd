# cython: language_level=3
"""Every block size and threshold of the kernels, in one table. docs/tuning.md has the figures behind them.

They are the same for all levels, on purpose: the order in which sums are added depends on some of them, and results
must not depend on the processor. What makes up the meaning of a result stands first.
"""

cdef enum:
    # --- part of what a sum of floats means ---
    # Partial results that `along` keeps side by side, of anything but sums of floats, whose order is that of c/sums.h;
    # and cells of a block.
    LANES = 16
    BLOCK = 4096
    # The same of comparisons over long runs, which may be made in any order: four times as many.
    WIDE_LANES = 64
    # Roundings to float of a sum over the rows of a window. With two of four such sums, which are added in float before
    # they are widened, one of a gradient that was divided before, and that of the result they are as many as a sum in
    # float may have (pooling/calls.py).
    ROUNDINGS_OF_ROWS = 4

    # --- threads ---
    # Calls of each family that move fewer bytes run on one thread: to give work to another, and to wait for it, takes
    # about as long as 8 microseconds of work would gain. Bytes are those of input and result, and of indices if they
    # are made; of pooling without indices they are what `work_of` of core.pyx makes of them.
    SERIAL_POOL = 900_000
    SERIAL_INDICES = 192_000
    SERIAL_SCATTER = 144_000
    # Gradients of maxima that are found again.
    SERIAL_SEARCH = 96_000
    SERIAL_SPREAD = 112_000
    SERIAL_COPY = 192_000
    SERIAL_NORM = 96_000
    SERIAL_NORM_GRADIENT = 64_000
    SERIAL_BLUR = 40_000
    SERIAL_REGIONS = 72_000
    SERIAL_UNPOOLING = 192_000
    SERIAL_FRACTIONAL = 48_000

    # --- caches ---
    # The last-level cache of a processor that reports none, and the smallest and largest that is believed: caches of
    # several parts are reported as one, and others use them as well. Results of windows that slide row by row are
    # streamed by calls that move more bytes than the cache holds.
    USUAL_CACHE = 1 << 25
    LEAST_CACHE = 1 << 23
    MOST_CACHE = 1 << 27
    # Indices are streamed by calls that move more than this part of it: they are not read again as soon as results are.
    CACHE_BY_INDICES = 2
    # Rows of a window that is a whole map from which on those ahead are fetched; how far ahead, which is as much as
    # bands of rows fetch at a time; and how far ahead of a long run of comparisons.
    FEWEST_FETCHED = 64
    FETCHED_BYTES = 1 << 14
    RUN_FETCHED_BYTES = 1 << 16

    # --- bands ---
    # Cells of a band of windows.
    BAND_CELLS = 1 << 11
    # The same where each row is one window: what memory is asked for ahead of large calls.
    RUN_BAND_CELLS = 1 << 12
    # Channels of a map that is pooled as a whole which a thread takes at least: shorter pieces of rows that lie apart
    # are read slower by two threads than whole rows by one.
    FEWEST_CHANNELS = 128
    # Most cells under a band that are converted before they are combined: 32 KiB of halves.
    CONVERTED_CELLS = 1 << 14
    # Cells of a row beyond which adaptive windows are made in shorter segments.
    MOST_SPAN = 1 << 14

    # --- ladder ---
    # Taps of windows that are worth a ladder, and cells of a band of such windows.
    LONG = 8
    LADDER_CELLS = 1 << 13
    # Most rows of long windows that are combined by their ends and beginnings.
    MOST_LONG_ROWS = 64
    # Rungs above the elements themselves: enough for 4**31 taps.
    RUNGS = 32

    # --- stacks and flat ---
    # Widest row, and most cells, of a plane that is stacked with others: beyond them a row on its own is long enough to
    # hide what it costs to begin it.
    NARROW = 64
    STACK_CELLS = 2048
    # Rows are copied in pieces of this many bytes, which compilers turn into one load and one store; a piece may reach
    # beyond its row into cells that are written later.
    PIECE = 32
    # At most one window of so many may look beyond the ends of a row, where windows slide along whole stacks.
    FLAT_SHARE = 3

    # --- strips ---
    # Cells of a strip of long windows that are made in one go.
    STRIP = 64
    # Taps of windows that are made in strips: at least so many that it pays, and at most so many, since memory grows
    # with them, and rounding errors of sums.
    FEWEST_TAPS = 20
    # Most channels of a pixel there; vectors are full of more channels as they lie.
    STRIP_CHANNELS = 4
    MOST_TAPS = 512
    # Values of a row whose windows' means are made together, of rows that need not fill a strip.
    MEANS_TOGETHER = 16

    # --- running sums ---
    # Taps on one axis from which on sums of small integers are made from those of the window before; cells of the rows
    # that are worked on, unless windows are longer than a quarter of that.
    RUNNING_TAPS = 12
    # The same of windows of a single row or column, whose sums may be of 16 bits otherwise; and values of a cell that
    # make it a row.
    RUNNING_LINE_TAPS = 32
    RUNNING_WIDTH = 256
    RUNNING_CELLS = 4096

    # --- bytes ---
    # Rows and bytes of a tile of windows over bytes, whose combined rows are 64 KiB.
    BYTE_ROWS = 32
    BYTE_COLUMNS = 2048
    # Fewest bytes of a row of such windows, and of the result where 2 x 2 are averaged: a row takes some nanoseconds to
    # begin, which narrow planes that lie in a stack do not.
    FEWEST_BYTES = 64
    FEWEST_HALVES = 32
    # Rows of a tile of means of 3 x 3, and fewest bytes of a row whose windows lie in it, at least those of a vector.
    BYTE_MEAN_ROWS = 64
    FEWEST_BYTE_MEANS = 64
    # Fewest inner elements of an axis whose lines are added, where means of bytes are made along one axis; bytes and
    # least rows of a tile of them; and fewest bytes of a line else.
    LINE_COLUMNS = 64
    LINE_TILE = 512
    LINE_ROWS = 64
    FEWEST_LINE_BYTES = 128

    # --- cores ---
    # Most bytes that a thread works in before windows are made of cores, which for windows of 9 to 31 taps over many
    # channels take twice as long as bands do.
    WORKING_BYTES = 1 << 24
    # Outputs of a tile along an axis, and altogether: with 64 x 64 of them, 1000 x 1000 taps cost some 300 each.
    TILE_SIDE = 64
    TILE_OUTPUTS = 4096
    # Cells of a row that are combined at a time, and rows before the result is added to what there is. The rows
    # keep sums accurate: one by one a million of them would be a million roundings.
    CORE_CELLS = 2048
    CORE_ROWS = 1024

    # --- argmax ---
    # Beyond this reach places of argmaxes take 64 bits. A place and the way to it through a segment, which may be four
    # times as long, are added in 32.
    MOST_REACH = 1 << 28
    # Fewest whole windows of a row that is no longer laid out with its padding where argmaxes are asked for.
    STRAIGHT = 32
    # Channels of a pixel whose taps are compared pixel by pixel: from twice as many on they fill vectors.
    FEW_CHANNELS = 32
    # Fewest whole windows of a row whose taps are compared in registers, one vector of bytes at least, and most rows
    # of such a window: 3 x 3 in three dimensions.
    FEWEST_IN_REGISTERS = 16
    MOST_LINES = 9
    # Argmaxes that are held side by side within a wide window.
    ARGMAX_LANES = 64

    # --- argmax by search ---
    # Taps of windows, of adaptive ones, and those along a row, from which on an argmax is looked for where the maximum
    # is known.
    SEARCHED_TAPS = 128
    SEARCHED_ADAPTIVE_TAPS = 32
    SEARCHED_ROW = 5

    # --- argmax of long windows ---
    # Cells of a line of rows, which are flipped, so that windows along them are made of lines as well.
    LANES_TOGETHER = 128
    FEWEST_LANES = 8
    # Cells that windows may span to be made of runs, most levels of runs, and the fewest cells of a tile of them.
    MOST_OF_RUNS = 8192
    MOST_LEVELS = 16
    RUN_CELLS = 1024
    # Bytes that each of the two buffers of a thread may take unless windows are longer than that.
    LONG_BYTES = 1 << 19
    # Indices that a gradient finds in one go: 1 MiB.
    FOUND_CELLS = 1 << 17
    # What these windows take for each of their inputs and outputs, in comparisons of a tap of short ones, where rows
    # are flipped.
    COST_OF_LONG = 24
    # The same where rows are made of runs: for each cell of a row, padding included, at each level, of keys half that
    # of one level; for a cell that is put into the ring of columns; for the calls for a row. What is converted costs
    # some levels more.
    COST_OF_LEVEL = 2
    LEVELS_TO_CONVERT = 2
    COST_OF_RING = 2
    COST_OF_ROW = 450
    # What a tap of short windows takes more than one of neighbours where windows lie more than two cells apart: of
    # values of 8 bits, which are moved one by one; of 16 bits, which are converted besides; and of others.
    COST_OF_STEP_8 = 8
    COST_OF_STEP_16 = 16
    COST_OF_STEP = 2
    # Where windows are made a row at a time: of neighbours, whose taps are read again and again; and of halves, whose
    # rows are converted for each window.
    COST_OF_OVERLAP = 3
    COST_OF_HALVES = 2

    # --- arrays that do not lie side by side ---
    # Bytes of maps that are copied before they are pooled, and most bytes of a single map or of rows of one: a part of
    # the second-level cache.
    VIEWED_BYTES = 1 << 17
    MOST_VIEWED_BYTES = 1 << 19
    # Maps from which on each is pooled where it lies, if kernels can read it there.
    LYING_BYTES = 1 << 14

    # --- gradients ---
    # Most cells of a plane over which gradients are spread as a whole: a quarter of the second-level cache.
    GRADIENT_STACK_CELLS = 1 << 16
    # Fewest planes of such a call: threads do not share a plane.
    MANY_PLANES = 8
    # Sums that are wider than the array are made of so many bytes at a time.
    SUMS_BYTES = 1 << 22
    # Most outputs of a plane of halves whose gradients are added up among themselves, and not in a plane of floats.
    SPARSE_OUTPUTS = 64
    # Most channels, and fewest steps in a window, where gradients are summed in runs.
    RUN_CHANNELS = 8
    RUN_OVERLAP = 10
    # Cells, or outputs if these are more, that gradients of adaptive windows are made of at a time.
    ADAPTIVE_CELLS = 1 << 16
    # Divisors that are laid out: of a plane, or of a row where planes are larger.
    DIVISORS = 4096
    # Cells of a row that is written in pieces: whole rows would be kept twice.
    LONG_ROW_CELLS = 1 << 14

    # --- norms ---
    # Taps of a window that are worked on together, and cells of a row under windows that do not overlap.
    TAPS = 1024
    # Outputs of a row, with their channels, whose gradients are spread together, and most values under them.
    SPREAD_CELLS = 1 << 11
    SPREAD_ROW_CELLS = 1 << 15
    # Sums of a block of windows: half of the first-level cache.
    BLOCK_SUMS = 1 << 11
    # Rows of a window whose powers are added up for each window anew, where windows share them; more rows are raised
    # once. Channels of pixels that are added up as they lie.
    MOST_POWERS = 4
    PIXEL_CHANNELS = 16
    # Elements of a part of a map whose norm is made of parts; those are part of what the sum means.
    NORM_PART = 1 << 16
    # Norms that are kept while gradients are made, of windows that reach into several parts of a plane.
    MOST_NORMS = 1 << 15

    # --- regions ---
    # Cells of half precision that are converted in one go where channels are laid side by side, bins that are held
    # until they are written, and bytes of the samples of all regions.
    LANES_AT_ONCE = 256
    LANES_HELD = 256
    LANES_GRIDS = 1 << 20

    # --- blurs, fractional pooling, unpooling ---
    # Cells of a segment of a row, and values of a cell that are made together.
    BLUR_CELLS = 2048
    # Ways in which the results of a row may be made in turn: gradients of blurs of strides up to this.
    MOST_PHASES = 4
    # Larger maps are copied some rows at a time.
    MAP_BYTES = 1 << 20
    # Cells between two looks at signals.
    TOGETHER = 4096
