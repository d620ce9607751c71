"""What scripts for a Python that is not one of this system share: it is compiled, and the package built for it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from wheel_tests import ROOT, environment


def say(sentence: str) -> None:
    """Print at once what is going on."""
    print(sentence, flush=True)


def compile_checkout() -> None:
    """Compile the package of this interpreter as its sources are now, where it is the checkout's.

    An editable install goes on with the modules that it was made with: after a change of the sources, builds for other
    systems would be compared with those of before.
    """
    spec = importlib.util.find_spec("pooling")
    if spec and spec.origin and Path(spec.origin).resolve().is_relative_to(ROOT / "pooling"):
        say("compiling the package of this interpreter, where its sources have changed ...")
        command = [sys.executable, "setup.py", "build_ext", "--inplace"]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def install_tools(who: str, tools: dict[str, list[str]]) -> None:
    """Install the Debian packages whose programs are missing, or say which they are."""
    missing = [package for program, packages in tools.items() if not shutil.which(program) for package in packages]
    if not missing:
        return
    command = [
        "apt-get",
        "install",
        "--yes",
        "--quiet",
        "--no-install-recommends",
        "--option=DPkg::Lock::Timeout=300",
        *missing,
    ]
    if os.geteuid() or not shutil.which("apt-get"):
        sys.exit(f"{who}: {', '.join(missing)} must be installed, which root does on Debian: {shlex.join(command)}")
    say(f"installing {', '.join(missing)} ...")
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def debian_release(who: str) -> str:
    """Return the name of this Debian's release, such as bookworm."""
    system = platform.freedesktop_os_release()
    if system.get("ID") != "debian" or not shutil.which("apt-get"):
        sys.exit(f"{who}: the interpreter comes from Debian, and this system is not Debian")
    return system["VERSION_CODENAME"]


def apt_of_its_own(folder: Path, sources: str, **options: str) -> list[str]:
    """Return the beginning of commands of apt-get that keep all they read in a folder, and have it read the lists."""
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(sources)
    settings = {
        "Dir::State": folder,
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder,
        "Dir::Cache::archives": folder / "archives",
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "-",
        **{name.replace("_", "::"): value for name, value in options.items()},
    }
    command = ["apt-get", "--quiet=2", *(f"--option={name}={value}" for name, value in settings.items())]
    subprocess.run([*command, "update"], check=True)
    return command


def fetch_sources(folder: Path, suites: Mapping[str, str]) -> None:
    """Download source packages of Debian, each of the suite that is named, and unpack them into `sources`."""
    say(f"fetching the sources of {', '.join(suites)} ...")
    lists = "".join(f"deb-src http://deb.debian.org/debian {suite} main\n" for suite in sorted(set(suites.values())))
    command = apt_of_its_own(folder / "apt", lists)
    sources = folder / "sources"
    shutil.rmtree(sources, ignore_errors=True)
    sources.mkdir()
    # As the one who called, who owns the folder.
    command += ["--option=APT::Sandbox::User=root", "source", "--download-only", "--only-source"]
    subprocess.run([*command, *(f"{name}/{suite}" for name, suite in suites.items())], cwd=sources, check=True)
    for name in suites:
        (archive,) = (path for path in sources.glob(f"{name}_*.orig.tar.*") if path.suffix != ".asc")
        unpack(archive, sources / name)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack what lies in the one folder of an archive of sources."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "--extract", "--strip-components=1", "--file", archive], cwd=folder, check=True)


def compile_source(
    who: str, name: str, commands: Iterable[Sequence[str | Path]], folder: Path, log: Path, variables: Mapping[str, str]
) -> None:
    """Run the commands that compile and install a source, in a folder; what they say goes to a file."""
    say(f"compiling {name} ...")
    with log.open("w") as file:
        for command in commands:
            made = subprocess.run(
                command,
                cwd=folder,
                env={**environment(), **variables},
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            )
            if made.returncode:
                sys.exit(f"{log.read_text(errors='replace')[-8000:]}\n{who}: {name} cannot be compiled, see {log}")


def make(*more: str) -> list[str]:
    """Return the command that compiles on all processors."""
    return ["make", f"--jobs={os.cpu_count() or 1}", *more]


def of_glibc(machine: str) -> list[str]:
    """Return the names by which wheels say that they run on a machine with glibc."""
    glibc = [f"manylinux_2_{minor}_{machine}" for minor in (17, 24, 26, 27, 28, 34)]
    return [*glibc, f"manylinux2014_{machine}", f"linux_{machine}"]


def install_wheels(
    target: Path, platforms: list[str], *packages: str, minor: int = sys.version_info.minor, abi: str = ""
) -> None:
    """Install wheels for some platforms and a version of Python, by itself this one, into a folder."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--only-binary=:all:"]
    command += [*(f"--platform={name}" for name in platforms), "--implementation=cp"]
    command += [f"--python-version=3.{minor}", *([f"--abi={abi}"] if abi else []), f"--target={target}"]
    subprocess.run([*command, *packages], check=True)


def wheel_by_setup(
    who: str, source: Path, folder: Path, variables: dict[str, str], python: str | Path = sys.executable
) -> Path:
    """Build a wheel by the setup.py of a source, for the Python that runs it or, by variables, for another one."""
    say(f"building the wheel of {source.name} ...")
    made = folder / "dist"
    shutil.rmtree(made, ignore_errors=True)
    command = [str(python), "setup.py", "-q", "egg_info", f"--egg-base={folder}"]
    command += ["build", f"--build-base={folder / 'build'}", "bdist_wheel", f"--dist-dir={made}"]
    # Or the modules would be compiled twice.
    command += ["--skip-build", f"--bdist-dir={folder / 'bdist'}"]
    log = folder / "build.log"
    with log.open("w") as file:
        # What setup.py says of its progress goes to the terminal.
        built = subprocess.run(
            command,
            cwd=source,
            env={**environment(), **variables},
            stderr=file,
            check=False,
        )
    if built.returncode:
        sys.exit(f"{log.read_text(errors='replace')[-8000:]}\n{who}: the wheel cannot be built, see {log}")
    (wheel,) = made.glob("*.whl")
    say(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB")
    return wheel
