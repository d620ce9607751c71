"""Build of the compiled modules: what all share, and one kernel module per instruction-set level, from one source.

Everything else about the project is declared in pyproject.toml.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from Cython import __version__ as cython_version
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError, CompileError

PYX = Path("pyx")
BUILD = Path("build", sys.implementation.cache_tag)

# The table of levels, weakest first. A level becomes the module pooling._kernels_<level>.
LEVELS: dict[str, list[str]] = (
    {
        "x86-64-v2": ["-march=x86-64-v2"],
        # The generic tuning splits 32-byte copies in two; every v3 processor prefers them whole.
        "x86-64-v3": ["-march=x86-64-v3", "-mtune=haswell"],
    }
    if sysconfig.get_platform().endswith("x86_64")
    else {"generic": []}
)

# -ffp-contract=off is load-bearing: with fused multiply-add two levels would differ in the last bit.
# No flag here may change a result; -ffast-math is out of the question. -g0 undoes the -g of many Pythons:
# without debugging information a module is a sixth of the size and takes two thirds of the time to compile.
# Cython's `inline` is an order here and no advice: in a module of this size gcc had stopped to inline the leaves, whose
# constant arguments then made no vector loops; 3x3 s2 took 216 us of one thread and not 113.
FLAGS = {
    "unix": [
        "-O3",
        "-g0",
        "-ffp-contract=off",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-DCYTHON_INLINE=inline __attribute__((always_inline))",
    ],
    "msvc": ["/O2", "/fp:precise"],
}
# Who does the parts of a job: the team of pyx/c/team.h, which needs the atomic operations of gcc and POSIX threads, or
# OpenMP. Only pooling._core knows.
OPENMP = {"unix": (["-fopenmp"], ["-fopenmp"]), "msvc": (["/openmp"], [])}


def threading_of(kind: str) -> str:
    """Return what POOLING_THREADING names: by itself the team, and OpenMP where there can be none."""
    named = os.environ.get("POOLING_THREADING") or ("openmp" if kind == "msvc" else "team")
    if named not in ("team", "openmp"):
        raise BaseError(f"POOLING_THREADING={named!r} must be 'team' or 'openmp'")
    return named


def extension(name: str, source: str, **macros: str) -> Extension:
    """Describe one compiled module; every macro is passed as a C string."""
    shared = [str(path) for pattern in ("*.pxd", "*.pxi", "*.h") for path in sorted(PYX.rglob(pattern))]
    return Extension(
        f"pooling.{name}",
        [str(PYX / source)],
        depends=shared,
        include_dirs=[str(PYX)],
        define_macros=[(macro, f'"{value}"') for macro, value in macros.items()],
    )


def module_of(level: str) -> str:
    """Return the name of the kernel module of one level."""
    return f"_kernels_{level.replace('-', '_')}"


def kernels(level: str) -> Extension:
    """Describe the kernel module of one level."""
    module = extension(module_of(level), "kernels.pyx", POOLING_LEVEL=level)
    module.extra_compile_args = LEVELS[level]
    # So that the C of one level, which holds the name of the module, can be made that of another.
    module.define_macros.append(("CYTHON_COMPRESS_STRINGS", "0"))
    return module


def chosen_levels(supported: Callable[[], list[str]]) -> list[str]:
    """Return the levels to build: all, or those that POOLING_LEVELS names.

    Parameters
    ----------
    supported : callable
        Tells which levels the processor runs, for ``POOLING_LEVELS=native``: the best of them alone.
    """
    named = os.environ.get("POOLING_LEVELS", "").replace(",", " ").split()
    if not named:
        return list(LEVELS)
    if named == ["native"]:
        runs = [level for level in LEVELS if level in supported()]
        if not runs:
            raise BaseError(f"POOLING_LEVELS=native: this processor runs none of {', '.join(LEVELS)}; name one of them")
        return runs[-1:]
    unknown = [name for name in named if name not in LEVELS]
    if unknown:
        raise BaseError(
            f"POOLING_LEVELS={os.environ['POOLING_LEVELS']!r}: {unknown[0]!r} is no level of this processor family; "
            f"use native, or some of {', '.join(LEVELS)}"
        )
    return [level for level in LEVELS if level in named]


def say(sentence: str) -> None:
    """Print what is going on; pip keeps that to itself, so the Makefile names a file that it shows."""
    print(sentence, flush=True)
    if path := os.environ.get("POOLING_PROGRESS"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"  {sentence}\n")


@contextmanager
def progress(step: str) -> Iterator[None]:
    """Say that a step begins, every ten seconds that it goes on, and how long it took."""
    begin = time.monotonic()
    done = threading.Event()

    def remind() -> None:
        while not done.wait(10):
            say(f"{step}: {time.monotonic() - begin:.0f} s")

    say(f"{step} ...")
    reminder = threading.Thread(target=remind, daemon=True)
    reminder.start()
    try:
        yield
    finally:
        done.set()
        reminder.join()
    say(f"{step}: done in {time.monotonic() - begin:.0f} s")


class BuildKernels(build_ext):
    """Run Cython, and make several modules of one source, which `cythonize` refuses.

    A finished module is kept under build/ with a digest of all that it was made from, and an unchanged one is
    not built twice: setuptools builds an editable install in temporary folders, every time from nothing.
    """

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()
        self.translating = threading.Lock()
        self.translations: dict[str, tuple[str, Path]] = {}

    def build_extensions(self) -> None:
        self.check_compiler()
        levels = chosen_levels(self.supported_levels)
        left_out = {f"pooling.{module_of(level)}" for level in LEVELS if level not in levels}
        # In place: the commands that look for the finished modules hold the same list.
        self.extensions[:] = [ext for ext in self.extensions if ext.name not in left_out]
        kind = "msvc" if self.compiler.compiler_type == "msvc" else "unix"
        for ext in self.extensions:
            if ext.name == "pooling._core":
                ext.define_macros = [("POOLING_LEVELS", f'"{" ".join(levels)}"')]
                if threading_of(kind) == "openmp":
                    ext.extra_compile_args, ext.extra_link_args = OPENMP[kind]
        for ext in self.extensions:
            # Once: `setup.py build bdist_wheel` comes here twice.
            if ext.extra_compile_args[: len(FLAGS[kind])] != FLAGS[kind]:
                ext.extra_compile_args = FLAGS[kind] + ext.extra_compile_args
        super().build_extensions()

    def check_compiler(self) -> None:
        """Compile one line, so that a missing compiler is told of before Cython has worked for half a minute."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "empty.c")
            source.write_text("#include <Python.h>\n")
            try:
                self.compiler.compile([str(source)], output_dir=folder, include_dirs=self.include_dirs)
            except (CCompilerError, BaseError, OSError) as error:
                command = " ".join(getattr(self.compiler, "compiler_so", ["cl"])[:1])
                raise CompileError(
                    f"the kernels are compiled here, and {command} cannot compile a file that includes Python.h "
                    f"({str(error).splitlines()[0]}); install a C compiler and the headers of Python "
                    "(Debian and Ubuntu: apt install gcc python3-dev; Fedora: dnf install gcc python3-devel; "
                    "macOS: xcode-select --install), or name another compiler with CC=..."
                ) from error

    def supported_levels(self) -> list[str]:
        """Ask the processor, as pooling._core does, which is not there yet."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "levels.c")
            source.write_text(
                """
                #include <stdio.h>
                #include "c/cpu.h"
                int main(void) {
                    pooling_init_cpu();
                    puts("generic");
                    if (pooling_runs_v2()) puts("x86-64-v2");
                    if (pooling_runs_v3()) puts("x86-64-v3");
                    return 0;
                }
                """
            )
            objects = self.compiler.compile([str(source)], output_dir=folder, include_dirs=[str(PYX)])
            self.compiler.link_executable(objects, "levels", output_dir=folder)
            program = next(
                path for path in Path(folder).iterdir() if path.stem == "levels" and path.suffix in ("", ".exe")
            )
            return subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout.split()

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name))
        kept = BUILD / target.name
        stamp = kept.with_suffix(".digest")
        digest = self.digest(ext)
        if not (kept.exists() and stamp.exists() and stamp.read_text() == digest):
            title = ext.name.removeprefix("pooling._").replace("_", " ", 1)
            sources = ext.sources
            ext.sources = [str(self.translated(ext, title))]
            self.force = True
            with progress(f"the C compiler compiles {title}"):
                super().build_extension(ext)
            ext.sources = sources
            shutil.copy2(target, kept)
            stamp.write_text(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.copy_file(str(kept), str(target))

    def translated(self, ext: Extension, title: str) -> Path:
        """Return the C of a module. That of another level of the same source differs only in the module's name."""
        source = BUILD / f"{ext.name}.c"
        source.parent.mkdir(parents=True, exist_ok=True)
        cython = [sys.executable, "-m", "cython", "--module-name", ext.name, "-I", str(PYX)]
        with self.translating:
            name, other = self.translations.get(ext.sources[0], ("", source))
            # Lengths of strings are written beside them.
            if len(name) == len(ext.name):
                text = other.read_text(encoding="utf-8")
                own, new = (full.partition(".")[2] for full in (name, ext.name))
                source.write_text(text.replace(own, new), encoding="utf-8")
                return source
            try:
                with progress(f"Cython translates {title}"):
                    subprocess.run([*cython, "-o", str(source), *ext.sources], check=True)
            except subprocess.CalledProcessError as error:
                raise CompileError(f"Cython could not translate {ext.sources[0]} for {ext.name}") from error
            self.translations[ext.sources[0]] = (ext.name, source)
        return source

    def digest(self, ext: Extension) -> str:
        """Return a digest of everything that `ext` is made from."""
        compiler = getattr(self.compiler, "compiler_so", self.compiler.compiler_type)
        how = (cython_version, compiler, ext.extra_compile_args, ext.extra_link_args, ext.define_macros)
        digest = hashlib.sha256(repr(how).encode())
        for path in (*ext.sources, *ext.depends):
            digest.update(path.encode() + Path(path).read_bytes())
        return digest.hexdigest()


setup(
    # export/ is installed as pooling.export; a top-level package of that name would be a squatter.
    packages=[
        *find_packages(include=["pooling", "pooling.*"]),
        *(f"pooling.{name}" for name in find_packages(include=["export", "export.*"])),
    ],
    py_modules=["_ndpooling"],
    package_dir={"pooling.export": "export"},
    package_data={
        "pooling": [
            "py.typed",
            "*.pyi",
            "reporting/templates/*",
            "*/report/templates/*",
            "validation/known_issues.toml",
        ],
        "pooling.export.deployed": ["table.json"],
    },
    ext_modules=[extension("_core", "core.pyx", POOLING_LEVELS=" ".join(LEVELS)), *map(kernels, LEVELS)],
    cmdclass={"build_ext": BuildKernels},
)
