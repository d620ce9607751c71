"""What aarch64.py and musl.py share: a package built and installed for a Python that is not one of this system."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from wheel_tests import environment


def say(sentence: str) -> None:
    """Print at once what is going on."""
    print(sentence, flush=True)


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


def install_wheels(target: Path, platforms: list[str], *packages: str) -> None:
    """Install wheels for some platforms, the version of this Python, into a folder."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--only-binary=:all:"]
    command += [*(f"--platform={name}" for name in platforms), "--implementation=cp"]
    command += [f"--python-version=3.{sys.version_info.minor}", f"--target={target}"]
    subprocess.run([*command, *packages], check=True)


def wheel_by_setup(who: str, source: Path, folder: Path, variables: dict[str, str]) -> Path:
    """Build a wheel by the setup.py of a source, which variables for cross-compilation tell the Python it is for."""
    say(f"building the wheel of {source.name} ...")
    made = folder / "dist"
    shutil.rmtree(made, ignore_errors=True)
    command = [sys.executable, "setup.py", "-q", "egg_info", f"--egg-base={folder}"]
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
