"""Files that are written whole or not at all, whatever lies in the folder already."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pooling import files
from pooling.files import write_whole


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("name", ["f", "f" * 255, "é" * 127])
def test_any_name_that_the_system_takes(tmp_path: Path, name: str) -> None:
    for content in ("first", "second"):
        write_whole(tmp_path / name, content)
        assert (tmp_path / name).read_text() == content
    assert names(tmp_path) == {name}


def test_the_longest_path_that_the_system_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = os.pathconf(tmp_path, "PC_PATH_MAX") - 1
    folder = tmp_path
    while len(str(folder)) + 205 < longest:
        folder /= "d" * 200
    folder.mkdir(parents=True)
    # A name shorter than the draft's, in a path that leaves no sign free.
    folder /= "d" * (longest - len(str(folder)) - len("//f"))
    folder.mkdir()
    assert len(str(folder / "f")) == longest
    write_whole(folder / "f", "content")
    assert (folder / "f").read_text() == "content"
    assert names(folder) == {"f"}


def test_two_names_with_the_same_draft_are_never_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the name of a draft be taken, whatever has it is neither written nor removed."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr(files.secrets, "token_hex", lambda count: "guessed")
    for plant in (lambda path: path.symlink_to(victim), lambda path: path.hardlink_to(victim)):
        folder = tmp_path / "shared"
        folder.mkdir()
        plant(folder / ".pooling-guessed")
        with pytest.raises(OSError) as caught:
            write_whole(folder / "out", "content")
        assert (caught.value.errno, caught.value.filename) == (errno.EEXIST, str(folder / "out"))
        assert victim.read_text() == "precious"
        assert names(folder) == {".pooling-guessed"}
        (folder / ".pooling-guessed").unlink()
        folder.rmdir()


def test_names_of_drafts_cannot_be_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    replace = os.replace

    def spy(source: str, target: str, **folders: int) -> None:
        used.append(source)
        replace(source, target, **folders)

    monkeypatch.setattr(os, "replace", spy)
    for _ in range(8):
        write_whole(tmp_path / "out", "content")
    assert len(set(used)) == 8
    assert all(len(name) >= len(".pooling-") + 24 and str(os.getpid()) != name.split("-")[1] for name in used)


def test_threads_that_write_one_file_leave_one_of_their_contents(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def write(sign: str) -> None:
        try:
            for _ in range(50):
                write_whole(tmp_path / "out", sign * 10_000)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(sign,)) for sign in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (tmp_path / "out").read_text() in {sign * 10_000 for sign in "abcd"}
    assert names(tmp_path) == {"out"}


@pytest.mark.usefixtures("usual_umask")
def test_permissions_are_those_of_before_or_of_any_new_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "new", "content")
    assert mode(tmp_path / "new") == 0o644
    for permissions in (0o600, 0o640, 0o755, 0o666):
        (tmp_path / "new").chmod(permissions)
        write_whole(tmp_path / "new", "content")
        assert mode(tmp_path / "new") == permissions
    (tmp_path / "new").chmod(0o4755)
    write_whole(tmp_path / "new", "content")
    assert mode(tmp_path / "new") == 0o755


def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kept").write_text("before")
    monkeypatch.setattr(os, "access", lambda path, kind: False)  # as for whoever is not root
    with pytest.raises(PermissionError) as caught:
        write_whole(tmp_path / "kept", "content")
    assert caught.value.filename == str(tmp_path / "kept")
    assert (tmp_path / "kept").read_text() == "before"


def test_of_a_link_the_file_behind_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("there", "not yet"):
        (tmp_path / "link").symlink_to(tmp_path / "folder" / name)
        write_whole(tmp_path / "link", name)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "folder" / name).read_text() == name
        (tmp_path / "link").unlink()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(OSError) as caught:
        write_whole(tmp_path / "circle", "content")
    assert (caught.value.errno, caught.value.filename) == (errno.ELOOP, str(tmp_path / "circle"))


def test_pipes_and_devices_are_written_as_they_are(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_whole(tmp_path / "pipe", "content")
    reader.join(10)
    assert read == ["content"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    write_whole("/dev/null", "content")
    if Path("/dev/full").exists():
        with pytest.raises(OSError) as caught:
            write_whole("/dev/full", "content")
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/dev/full")


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), SystemExit()])
def test_what_fails_or_is_stopped_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*arguments: Any) -> None:
        raise error

    (tmp_path / "out").write_text("before")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error)) as caught:
        write_whole(tmp_path / "out", "content")
    if isinstance(caught.value, OSError):
        assert caught.value.filename == str(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "before"
    assert names(tmp_path) == {"out"}


def test_folders_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as caught:
        write_whole(tmp_path, "content")
    assert caught.value.filename == str(tmp_path)
    with pytest.raises(FileNotFoundError) as missing:
        write_whole(tmp_path / "no" / "out", "content")
    assert missing.value.filename == str(tmp_path / "no" / "out")
