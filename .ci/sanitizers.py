"""Run compiled code under sanitizers: the thread team, and the kernels.

The team runs under ThreadSanitizer and AddressSanitizer, with threads preempted at random points; the program
is tests/team_stress.c, which includes the team as the kernels do, without Python. The kernels are compiled again for
the lowest level with AddressSanitizer and UndefinedBehaviorSanitizer, and the tests of the array functions run on them.
Where the compiler has no sanitizer, a line that begins with "not installed: " says so, which .ci/run repeats at its
end; it is no failure.

Usage: python .ci/sanitizers.py team [seconds], or python .ci/sanitizers.py kernels [tests ...], which keeps the modules
in build/sanitizers, where `python .ci/sanitizers.py modules` makes them and runs nothing; exit status 1 when a
sanitizer, or a program or a test itself, finds something.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / "build" / "sanitizers"
TEAM = {"ThreadSanitizer": "thread", "AddressSanitizer": "address,undefined"}
KERNELS = "address,undefined"
LEVEL = "x86-64-v2" if platform.machine() in ("x86_64", "AMD64") else "generic"
TESTS = (
    *("functional", "gradients", "gradient_accuracy", "long_windows", "integer_means", "nan_means", "levels", "arrays"),
    *("fractional", "unpooling", "regions", "norms", "blurring", "elementary", "threads", "leaves", "buffers"),
    *("views", "speed_families", "block_reduce", "pyramid", "byte_lines"),
)
"""Files of tests whose calls take every path of the kernels."""


def compiled(program: Path, source: Path, *flags: str) -> str | None:
    """Compile one file; return what the compiler said when it could not."""
    command = [
        *shlex.split(os.environ.get("CC", "cc")),
        *("-O1", "-g", "-pthread", f"-I{ROOT / 'pyx'}", *flags, str(source), "-o", str(program)),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stderr if answer.returncode else None


def works(kind: str, folder: Path) -> bool:
    """Whether the compiler makes programs with a sanitizer, and these run."""
    program, empty = folder / "program", folder / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    said = compiled(program, empty, f"-fsanitize={kind}", "-fno-sanitize-recover=all")
    return not said and not subprocess.run([program], capture_output=True, check=False).returncode


def say_missing(what: str) -> None:
    """Say that nothing was run, by a line that .ci/run looks for and repeats at its end."""
    print(f"not installed: {what} of the compiler {os.environ.get('CC', 'cc')}", flush=True)


def team(seconds: int = 10) -> int:
    """Run the program under each sanitizer; return the exit status."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "program")
        for name, kind in TEAM.items():
            flags = (f"-fsanitize={kind}", "-fno-sanitize-recover=all")
            if not works(kind, Path(folder)):
                say_missing(name)
                continue
            for calm in (False, True):
                said = compiled(program, ROOT / "tests/team_stress.c", *flags, *(["-DCALM"] if calm else []))
                if said:
                    print(f"{name}: the program does not compile\n{said}")
                    failed += 1
                    continue
                answer = subprocess.run(
                    [program, str(seconds // 2)], capture_output=True, text=True, timeout=60 + 10 * seconds, check=False
                )
                title = f"{name}, {'as it comes' if calm else 'threads preempted at random points'}"
                if answer.returncode or answer.stderr:
                    print(f"{title}: exit status {answer.returncode}\n{answer.stderr[:8000]}")
                    failed += 1
                else:
                    print(f"{title}: nothing found in {seconds // 2} s")
    return 1 if failed else 0


def copied(tree: Path, checks: str = KERNELS) -> None:
    """Copy what the tests of the array functions need; modules are compiled with the sanitizers, and not inlined.

    What was compiled there before stays, and setup.py tells whether it is still right.
    """
    for path in tree.iterdir() if tree.exists() else ():
        if path.name != "build":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    tree.mkdir(parents=True, exist_ok=True)
    skipped = shutil.ignore_patterns("*.so", "__pycache__")
    for name in ("pooling", "export", "pyx", "tests", "benchmarks", "docs"):
        shutil.copytree(ROOT / name, tree / name, ignore=skipped)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "Makefile", "CHANGELOG.md"):
        shutil.copy2(ROOT / name, tree)
    if not (tree / "pooling" / "export").exists():
        (tree / "pooling" / "export").symlink_to(tree / "export")
    setup = tree / "setup.py"
    text = setup.read_text().replace("inline __attribute__((always_inline))", "inline")
    flags = f'"-O1", "-fno-omit-frame-pointer", "-fsanitize={checks}"'
    assert text.count('"-O3"') == 1
    setup.write_text(text.replace('"-O3"', flags))


def run_tests(
    tree: Path,
    variables: dict[str, str],
    tests: Sequence[str],
    title: str,
    pytest: Sequence[str] = (sys.executable, "-m", "pytest", "-n", "auto", "--dist", "worksteal"),
) -> int:
    """Run tests on the modules of a folder; return 1 where one fails, or a sanitizer writes that it found something."""
    with tempfile.TemporaryDirectory() as folder:
        told = f"log_path={folder}/found"
        variables = {
            "PYTHONPATH": str(tree),
            "PYTHONDONTWRITEBYTECODE": "1",
            **{name: f"{value}:{told}" if name.endswith("SAN_OPTIONS") else value for name, value in variables.items()},
        }
        command = [*pytest, "-q", "-p", "no:cacheprovider", "--hypothesis-profile=few"]
        asked = tests or tuple(f"tests/test_{name}.py" for name in TESTS)
        status = subprocess.run([*command, *asked], cwd=tree, env={**os.environ, **variables}, check=False).returncode
        found = sorted(Path(folder).glob("found*"))
        for report in found:
            print(report.read_text(errors="replace")[:8000])
        print(f"{title}: {len(found)} processes found something; exit status of the tests {status}")
        return 1 if found or status else 0


def build(tree: Path, level: str, checks: str, more: Mapping[str, str] | None = None) -> None:
    """Compile the modules of a folder in place, with sanitizers; more variables name another Python than this."""
    variables = {**os.environ, "POOLING_LEVELS": level, "LDFLAGS": f"-fsanitize={checks}", **(more or {})}
    subprocess.run([sys.executable, "setup.py", "build_ext", "--inplace"], cwd=tree, env=variables, check=True)


def modules() -> bool:
    """Compile the modules with the sanitizers of the kernels; return whether the compiler has these."""
    with tempfile.TemporaryDirectory() as folder:
        if not works(KERNELS, Path(folder)):
            say_missing("AddressSanitizer and UndefinedBehaviorSanitizer")
            return False
    copied(TREE)
    build(TREE, LEVEL, KERNELS)
    return True


def kernels(*tests: str) -> int:
    """Run tests on kernels with sanitizers; return the exit status."""
    if not modules():
        return 0
    compiler = [*shlex.split(os.environ.get("CC", "cc"))]
    # The sanitizer has to be there before Python asks for memory.
    runtime = subprocess.run(
        [*compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    variables = {
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    return run_tests(TREE, variables, tests, "kernels")


if __name__ == "__main__":
    what, *more = sys.argv[1:] or ["team"]
    if what not in ("team", "kernels", "modules"):
        sys.exit(f"sanitizers: {what!r} is none of 'team', 'kernels' and 'modules'")
    if what == "modules":
        modules()
        sys.exit(0)
    sys.exit(team(*map(int, more)) if what == "team" else kernels(*more))
