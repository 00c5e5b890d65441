"""Where results are written: files and nothing else, whole or not at all, for whom they were before."""

import os
import socket
import stat
from pathlib import Path

import pytest

import betahat as bh
from betahat.saving import files

RES = bh.OLS([1.0, 2.0, 4.0, 5.0], bh.add_constant([1.0, 2.0, 3.0, 4.0])).fit("HC1")


@pytest.fixture
def umask():
    """A mask by which others may read."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("given", [0o600, 0o640, 0o664, 0o666, 0o755])
def test_a_file_stays_as_open_as_it_was(given, tmp_path, umask):
    path = tmp_path / "r"
    path.write_bytes(b"old")
    path.chmod(given)
    for _ in range(2):
        RES.save(path)
        assert mode(path) == given
    assert (bh.load(path).bse == RES.bse).all()


@pytest.mark.parametrize("masked", [0o022, 0o002, 0o077, 0o000])
def test_a_new_file_is_as_open_as_any_other(masked, tmp_path):
    before = os.umask(masked)
    try:
        (tmp_path / "other").write_bytes(b"")
        RES.save(tmp_path / "r")
    finally:
        os.umask(before)
    assert mode(tmp_path / "r") == mode(tmp_path / "other")


def _pipe(path):
    os.mkfifo(path)


def _socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize("make", [_pipe, _socket])
@pytest.mark.parametrize("linked", [False, True])
def test_pipes_and_sockets_stay_what_they_are(make, linked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    make(Path("p"))
    kind = stat.S_IFMT(os.stat("p").st_mode)
    if linked:
        os.symlink("p", "link")
    with pytest.raises(bh.DataError, match="not a file; save elsewhere"):
        RES.save("link" if linked else "p")
    assert stat.S_IFMT(os.stat("p").st_mode) == kind
    with pytest.raises(bh.DataError, match="is not a regular file"):
        bh.load("p")


@pytest.mark.parametrize("device", ["/dev/null", "/dev/stdout", "/dev/full"])
def test_devices_stay_what_they_are(device):
    if not Path(device).exists() or Path(device).resolve().is_file():
        pytest.skip("the device is a file here")
    before = Path(device).resolve().is_file()
    with pytest.raises(bh.DataError, match="not a file; save elsewhere"):
        RES.save(device)
    assert Path(device).resolve().is_file() == before


def test_links_lead_to_their_files(tmp_path):
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "r"
    target.write_bytes(b"old")
    target.chmod(0o640)
    for name, leads in (("link", target), ("relative", "folder/r"), ("twice", tmp_path / "link")):
        (tmp_path / name).symlink_to(leads)
        RES.save(tmp_path / name)
        assert (tmp_path / name).is_symlink()
        assert (bh.load(target).bse == RES.bse).all()
        assert mode(target) == 0o640
        target.write_bytes(b"old")
    (tmp_path / "to nothing").symlink_to(tmp_path / "folder" / "new")
    RES.save(tmp_path / "to nothing")
    assert (bh.load(tmp_path / "folder" / "new").bse == RES.bse).all()
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["new", "r"]


def test_links_that_lead_nowhere(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(bh.DataError, match="leads nowhere"):
        RES.save(tmp_path / "a")
    (tmp_path / "c").symlink_to(tmp_path / "no folder" / "r")
    with pytest.raises(bh.DataError, match=r"folder.* does not exist"):
        RES.save(tmp_path / "c")


def test_a_file_that_may_only_be_read(tmp_path, monkeypatch):
    path = tmp_path / "r"
    path.write_bytes(b"old")
    path.chmod(0o444)
    monkeypatch.setattr(files.os, "access", lambda place, how: False)  # root may write to any file
    with pytest.raises(bh.DataError, match="is read-only"):
        RES.save(path)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("step", ["chmod", "replace", "save_file", "open"])
def test_whatever_fails_the_old_file_is_whole(step, tmp_path, monkeypatch):
    path = tmp_path / "r"
    if step != "open":
        path.write_bytes(b"old")
        path.chmod(0o640)

    def fail(*given, **options):
        raise OSError("No space left on device")

    place = {
        "chmod": (Path, "chmod"),
        "replace": (files.os, "replace"),
        "save_file": (files, "save_file"),
        "open": (files.os, "open"),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*place[step], fail)
        with pytest.raises(bh.DataError, match="No space left"):
            RES.save(path)
    left = [(found.name, found.read_bytes(), mode(found)) for found in tmp_path.iterdir()]
    assert left == ([] if step == "open" else [("r", b"old", 0o640)])
