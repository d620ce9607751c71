"""Run the pooling tests of onnx and write docs/onnx-backend.md: ``python docs/make_onnx_backend.py``.

The test suite runs the same tests, and compares the page with what this module makes.
"""

from __future__ import annotations

import sys
import unittest
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx
from onnx.backend.test import BackendTest

from pooling.onnx_models import POOLING_OPERATORS
from pooling.onnx_models.backend import PoolingBackend

PAGE = Path(__file__).with_name("onnx-backend.md")
NODE_TESTS = {name: f"test_{name.lower()}_" for name in sorted(POOLING_OPERATORS)} | {
    name: f"test_{name.lower()}" for name in POOLING_OPERATORS if name.startswith("Global")
}
"""By operator, how the names of its node tests begin."""
MODEL_TESTS = ("test_MaxPool", "test_AvgPool2d", "test_AvgPool3d", "test_operator_maxpool")
"""How the names of the tests of whole models begin."""
CONTRADICTIONS = {
    "test_roialign_mode_max": (
        "The text interpolates at each sampled location and takes the greatest of these values. The stored answer is "
        "the greatest of the four *weighted corners* of all samples, which is not an interpolated value "
        "([onnx#4764](https://github.com/onnx/onnx/issues/4764)); onnxruntime, which computes the same, warns that it "
        "is incorrect."
    ),
}
"""Node tests whose stored answer contradicts the text of the standard, and why."""
HEAD = """\
<!-- Made by docs/make_onnx_backend.py. -->

# ONNX backend

`pooling.onnx_models.backend` is the backend interface of ONNX (`onnx.backend.base.Backend`) for models whose nodes are
pooling operators, in all opsets from 1 to the newest:

```python
from pooling.onnx_models import backend

backend.is_compatible("model.onnx")  # False where a node is no pooling operator
model = backend.prepare("model.onnx")  # a path, bytes or an onnx.ModelProto
outputs = model.run([x])  # a tuple of arrays, also by name: outputs["y"]
```

It needs onnx and nothing else; `import pooling` does not import it. It runs on the CPU.

"""
TAIL = """
## How nodes are read

Defaults are those of the operators: stride 1, no padding, `count_include_pad=0`, row-major indices over the whole
tensor. `pooling.onnx_models.function_from_node` answers one node, `layer_from_node` turns it into a layer.

| Opset | What it means |
|---|---|
| 1 | `LpPool` and `GlobalLpPool` have a real `p`. `LpPool` may leave out `kernel_shape` without a default: refused. |
| 7 | `AveragePool` has `count_include_pad`; before, padding never counts. |
| 8 | `MaxPool` has indices and `storage_order`; 1 is column-major in the plane, plus the plane's offset. |
| 10 to 21 | `ceil_mode` keeps a window that starts behind the input, as text and shape inference have it. It holds \
nothing: its maximum is -inf (the least integer) with index -1, its norm 0, its mean NaN, or 0 where padding counts. |
| 12 | `MaxPool` takes int8 and uint8. |
| 16 | `RoiAlign` moves boxes by half a pixel unless told otherwise; before, it never does. |
| 22 | Windows of `ceil_mode` that start behind the input are ignored. bfloat16 everywhere. |

A dtype that an operator does not take in the model's opset is a TypeError.

## Where the standard leaves a choice

- `auto_pad="SAME_*"`: the output size is `ceil(input / stride)` in all opsets. The text of AveragePool-11 says floor
  where `ceil_mode` is off, and contradicts its own attribute; shape inference counts one window more where `ceil_mode`
  is on and windows lie apart. Padding counts the effective kernel, and is never below 0; onnxruntime ignores dilations
  here, and shifts windows that lie apart.
- `auto_pad="VALID"` with `ceil_mode=1`: shape inference and runtimes keep the last, partial window, and so does this
  backend; the formula in the text leaves it out.
- LpPool-22: its text does not say that late windows are ignored, its shape inference ignores them; ignored here.
- `MaxUnpool` with an `output_shape` that the attributes do not give: indices count in `output_shape`, as the max
  pooling of such a tensor numbers them and as onnxruntime reads them. Those of
  `test_maxunpool_export_with_output_shape` cannot come from such a pooling: two elements would lie in windows that they
  did not come from. The test counts in the shape that the attributes give, where each lies in its own window. So
  indices are read that way only where each then names a cell of its own window, and in `output_shape` does not
  ([onnx#2398](https://github.com/onnx/onnx/issues/2398)).
- `pads` may have any size in the text; here each must be smaller than the effective kernel.
- NaN propagates in every operator, and a window of -inf is -inf.

Refused: more than three spatial axes, regions that do not meet their map, nodes of other operators (`Constant` too),
sparse initializers, data outside the model's folder.
"""


def suite(module: str | None = None) -> Any:
    """Return the tests of onnx that concern pooling; what contradicts the standard is expected to fail."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # making the cases of other operators divides by zero, among other things
        runner = BackendTest(PoolingBackend, module)
    for start in (*NODE_TESTS.values(), *MODEL_TESTS):
        runner.include(f"^{start}.*_cpu$")
    for name in CONTRADICTIONS:
        runner.xfail(f"^{name}_cpu$")
    return runner


def cases(runner: Any) -> dict[str, type[unittest.TestCase]]:
    """Return the test cases without the thousands of tests of other operators, which onnx leaves in as skipped."""
    found: dict[str, type[unittest.TestCase]] = runner.test_cases
    for case in found.values():
        for name in unittest.defaultTestLoader.getTestCaseNames(case):
            if getattr(getattr(case, name), "__unittest_skip__", False):
                delattr(case, name)
    return found


def names(found: dict[str, type[unittest.TestCase]]) -> list[str]:
    """Name the tests."""
    every = (name for case in found.values() for name in unittest.defaultTestLoader.getTestCaseNames(case))
    return sorted(name.removesuffix("_cpu") for name in every)


def page(tests: Iterable[str]) -> str:
    """Return the whole page, given the names of the tests; all pass but those that contradict the standard."""
    tests = list(tests)
    rows = []
    for operator, start in NODE_TESTS.items():
        rows.append((f"`{operator}`", [name for name in tests if name.startswith(start)]))
    rows.append(("whole models", [name for name in tests if name.startswith(MODEL_TESTS)]))
    rows.append(("all", tests))
    lines = [
        "## Conformance\n\n",
        f"Tests of `onnx.backend.test`, onnx {onnx.__version__}, run in `tests/test_onnx_backend.py`.\n",
        "onnx has none for GlobalLpPool and MaxRoiPool; these are held against the oracle and against onnxruntime.\n\n",
        "| Operator | Tests | Passed | Contradict the text |\n|---|---|---|---|\n",
    ]
    for title, mine in rows:
        against = [name for name in mine if name in CONTRADICTIONS]
        lines.append(f"| {title} | {len(mine)} | {len(mine) - len(against)} | {len(against)} |\n")
    lines.append("\nTests whose stored answer contradicts the text of the standard:\n\n")
    lines += [f"- `{name}`: {why}\n" for name, why in CONTRADICTIONS.items()]
    lines.append(
        "\nAlso replayed: 107 cases of onnxruntime's own pooling tests, 14 of which must be refused; random nodes of\n"
        "every operator, opset and dtype against onnxruntime, the oracle and shape inference.\n"
    )
    return f"{HEAD}{''.join(lines)}{TAIL}"


if __name__ == "__main__":
    made = cases(suite(__name__))
    result = unittest.TestResult()
    for case in made.values():
        unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    if not result.wasSuccessful():
        sys.exit("\n".join(str(test) for test, _ in result.failures + result.errors))
    PAGE.write_text(page(names(made)), encoding="utf-8")
