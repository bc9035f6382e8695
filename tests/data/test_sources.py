"""One bad file, folder or archive is one row of `rejects.csv`, and costs no other answer."""

import gzip
import io
import os
import socket
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from ich_keras.data import archives
from ich_keras.data.sources import find_sources
from tests.support.archives import (
    CRC,
    FLAGS,
    METHOD,
    UNPACKED,
    answered,
    slice_bytes,
    with_entry,
    zipped,
)

THREE = {f"{i}.dcm": slice_bytes(i) for i in range(3)}
ALL = {"ID_0", "ID_1", "ID_2"}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    folder.mkdir()
    for name, content in THREE.items():
        (folder / name).write_bytes(content)
    return folder


def deny(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, path: Path) -> None:
    """Lets a function fail for one path; permissions do not bind the administrator."""
    usual = getattr(owner, name)

    def denied(which: Path, *arguments: object) -> object:
        if Path(which) == path:
            raise PermissionError(13, "Permission denied", str(which))
        return usual(which, *arguments)

    monkeypatch.setattr(owner, name, denied)


def test_an_unreadable_file_is_a_row(study, monkeypatch):
    deny(monkeypatch, Path, "open", study / "1.dcm")
    slices, rejects = answered(study)
    assert slices == {"ID_0", "ID_2"}
    (detail,) = (rejects.pop("1.dcm"),)
    assert detail == "unreadable: cannot be read: Permission denied; check permissions and disk"
    assert not rejects


def test_a_folder_that_may_not_be_listed_is_a_row(study, monkeypatch):
    (study / "locked").mkdir()
    deny(monkeypatch, os, "scandir", study / "locked")
    slices, rejects = answered(study)
    assert slices == ALL
    assert list(rejects) == ["locked"]
    assert rejects["locked"].startswith("unreadable: the folder cannot be listed: Permission")


def test_a_given_folder_that_may_not_be_listed_is_a_row(study, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    deny(monkeypatch, os, "scandir", study)
    assert list(answered(study)[1]) == ["study"]
    assert list(answered(study, tmp_path / "other")[1]) == ["study"]


def test_a_linked_folder_is_a_row_and_given_itself_it_is_followed(study, tmp_path):
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "linked").symlink_to(study)
    slices, rejects = answered(tmp_path / "outer")
    assert not slices
    assert "link to a folder, which is not followed; give the folder" in rejects["linked"]
    assert answered(tmp_path / "outer" / "linked") == (ALL, {})


def test_links_in_a_circle_and_to_nothing_are_rows(study):
    (study / "up").symlink_to(study)
    (study / "self").symlink_to("self")
    (study / "gone.dcm").symlink_to("nowhere")
    slices, rejects = answered(study)
    assert slices == ALL
    assert set(rejects) == {"up", "self", "gone.dcm"}
    assert "a link to nothing" in rejects["gone.dcm"]


def test_a_linked_file_is_read(study, tmp_path):
    (tmp_path / "linked.dcm").symlink_to(study / "1.dcm")
    assert answered(tmp_path / "linked.dcm") == ({"ID_1"}, {})


def test_pipes_and_sockets_do_not_block(study, tmp_path):
    os.mkfifo(study / "pipe")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(os.path.relpath(study / "socket"))  # short enough for a socket's name
        slices, rejects = answered(study, Path("/dev/zero"), study / "pipe")
    assert slices == ALL
    assert set(rejects) == {"study/pipe", "study/socket", "zero", "pipe"}
    assert set(rejects.values()) == {"unreadable: no regular file"}


def test_folders_within_folders_by_the_thousand_are_searched(study):
    usual = Path.cwd()
    os.chdir(study)
    try:
        for _ in range(1500):
            os.mkdir("d")  # noqa: PTH102 - the whole path would grow too long for pathlib
            os.chdir("d")
        Path("3.dcm").write_bytes(slice_bytes(3))
    finally:
        os.chdir(usual)
    assert answered(study) == (ALL | {"ID_3"}, {})
    subprocess.run(["rm", "-r", study], check=True)  # pytest's removal recurses


def test_a_file_that_vanishes_between_headers_and_pixels_is_a_row(study):
    from ich_keras.data.studies import find_studies

    ((found,), _) = find_studies([study])
    (study / "1.dcm").unlink()
    read, rejects = found.series[0].read()
    assert len(read) == 2
    assert [(x["path"], x["reason"]) for x in rejects] == [("1.dcm", "unreadable")]


def test_files_of_two_folders_with_equal_names_are_told_apart(tmp_path):
    for folder in ("a/CT", "b/CT", "b/MR"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "1.dcm").write_text("nonsense")
    _, rejects = answered(tmp_path / "a", tmp_path / "b")
    assert set(rejects) == {"a/CT/1.dcm", "b/CT/1.dcm", "b/MR/1.dcm"}
    _, rejects = answered(tmp_path / "a/CT", tmp_path / "b/CT")
    assert set(rejects) == {f"{tmp_path}/a/CT/1.dcm", f"{tmp_path}/b/CT/1.dcm"}


def test_what_operating_systems_add_is_no_loss(study):
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "DICOMDIR", "._0.dcm"):
        (study / name).write_bytes(b"no slice")
    archive = zipped(THREE | {"__MACOSX/deep/._0.dcm": b"x", "deep\\": b"", "deep/": b""})
    (study / "study.zip").write_bytes(archive)
    slices, rejects = answered(study)
    assert slices == ALL
    assert {x.partition(": ")[0] for x in rejects.values()} == {"duplicate_id"}


def test_the_index_of_a_disk_is_named_with_what_to_give(study):
    (study / "DICOMDIR").write_bytes(b"index")
    _, rejects = answered(study / "DICOMDIR")
    assert rejects == {"DICOMDIR": "not_ct: an index of files; give the folder that holds it"}


# --- Archives -----------------------------------------------------------------------------------


def spoilt(name: str) -> bytes:
    """An archive of three slices with something wrong in it, or beside them."""
    whole = zipped(THREE)
    if name == "encrypted":
        return with_entry(whole, 1, FLAGS, 1)
    if name == "bad checksum":
        return with_entry(whole, 1, CRC, 12345, 4)
    if name == "unknown method":
        return with_entry(whole, 1, METHOD, 97)
    if name == "claims too much":
        return with_entry(whole, 1, UNPACKED, 300 << 20, 4)
    if name == "claims too little":
        return with_entry(whole, 1, UNPACKED, 100, 4)
    place = whole.index(b"1.dcm") + 200  # in the compressed bytes
    return whole[:place] + bytes(50) + whole[place + 50 :]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("encrypted", "encrypted: the archive is encrypted; unpack it with its password"),
        ("bad checksum", "damaged_archive: Bad CRC-32"),
        ("unknown method", "archive: compressed by method 97 of zip; unpack the archive first"),
        ("claims too much", "too_large: more than 256 MiB unpacked"),
        ("claims too little", "damaged_archive: Bad CRC-32"),
        ("damaged", "damaged_archive: "),
    ],
)
def test_one_bad_member_of_an_archive_is_a_row(tmp_path, name, said):
    (tmp_path / "x.zip").write_bytes(spoilt(name))
    slices, rejects = answered(tmp_path)
    assert slices == {"ID_0", "ID_2"}
    assert list(rejects) == ["x.zip:1.dcm"]
    assert rejects["x.zip:1.dcm"].startswith(said)


def tar(mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in THREE.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


NIFTI = bytes(344) + b"n+1\0" + bytes(100)
OTHERS = {
    "truncated.zip": (zipped(THREE)[:3000], "damaged_archive: File is not a zip file; copy the"),
    "directory.zip": (zipped(THREE).replace(b"PK\1\2", b"PK\1\3"), "damaged_archive: Bad magic"),
    "part.zip": (b"PK\7\x08" + bytes(100), "damaged_archive: "),
    "a.tar": (tar("w"), "archive: tar (.tar); unpack it first"),
    "a.tar.gz": (tar("w:gz"), "archive: gzip (.gz, .tgz); unpack it first"),
    "a.tgz": (tar("w:gz"), "archive: gzip (.gz, .tgz); unpack it first"),
    "a.tar.bz2": (tar("w:bz2"), "archive: bzip2 (.bz2); unpack it first"),
    "a.7z": (b"7z\xbc\xaf\x27\x1c" + bytes(40), "archive: 7-Zip (.7z); unpack it first"),
    "a.rar": (b"Rar!\x1a\x07\1\0" + bytes(40), "archive: RAR (.rar); unpack it first"),
    "a.nii": (NIFTI, "not_dicom: a NIfTI volume; give the DICOM files that it was made of"),
    "a.nii.gz": (gzip.compress(NIFTI), "not_dicom: a NIfTI volume; give the DICOM files"),
    "inner.zip:": (zipped({"deep.zip": zipped(THREE)}), "archive: a zip archive within an archive"),
    "lzma.zip:": (zipped({"x": b"x"}, zipfile.ZIP_LZMA), "archive: compressed by method 14"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_an_archive_or_volume_that_is_not_opened_is_named_with_what_to_do(study, name):
    content, said = OTHERS[name]
    (study / name.rstrip(":")).write_bytes(content)
    slices, rejects = answered(study)
    assert slices == ALL
    ((path, found),) = rejects.items()
    assert path.startswith(name)
    assert found.startswith(said)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(study):
    archive = zipped({f"{i}": bytes(1 << 20) for i in range(20)})
    for i in range(20):
        archive = with_entry(archive, i, UNPACKED, 200 << 20, 4)
    (study / "bomb.zip").write_bytes(archive)
    slices, rejects = answered(study)
    assert slices == ALL
    assert list(rejects) == ["bomb.zip"]
    assert "too_large" in rejects["bomb.zip"] and "zip bomb" in rejects["bomb.zip"]


def test_an_archive_that_hides_members_is_a_row(tmp_path):
    whole = zipped(THREE)
    end = whole.rindex(b"PK\5\6")
    directory = whole.index(b"PK\1\2", whole.index(b"PK\1\2") + 1)  # without its first entry
    size, place = (end - directory).to_bytes(4, "little"), directory.to_bytes(4, "little")
    hiding = whole[: end + 12] + size + place + whole[end + 20 :]
    (tmp_path / "hiding.zip").write_bytes(hiding)
    (tmp_path / "none.zip").write_bytes(zipped({}))
    slices, rejects = answered(tmp_path)
    assert slices == {"ID_1", "ID_2"}
    assert rejects == {
        "hiding.zip": "damaged_archive: lists 2 files and counts 3; copy the archive again",
        "none.zip": "damaged_archive: lists no files; copy the archive again",
    }


def test_names_in_an_archive_are_never_paths(tmp_path):
    names = ("/etc/passwd", "../../up.dcm", "C:\\x.dcm", "=cmd|' !A0")
    content = {name: slice_bytes(i) for i, name in enumerate(names)}
    (tmp_path / "x.zip").write_bytes(zipped(content))
    assert answered(tmp_path) == ({f"ID_{i}" for i in range(4)}, {})
    assert [x.name for x in tmp_path.iterdir()] == ["x.zip"]


def test_members_with_one_name_are_all_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for i in range(3):
            with pytest.warns(UserWarning) if i else pytest.MonkeyPatch.context():
                archive.writestr("same.dcm", slice_bytes(i))
    assert answered(tmp_path) == (ALL, {})


def test_dicom_whose_preamble_is_that_of_another_format_is_dicom(tmp_path):
    content = b"PK\3\4".ljust(128, b"\0") + slice_bytes(0)[128:]
    (tmp_path / "x.dcm").write_bytes(content)
    assert answered(tmp_path) == ({"ID_0"}, {})


def test_an_archive_is_opened_once_for_headers_and_pixels(tmp_path, monkeypatch):
    members = {f"{i}.dcm": slice_bytes(i) for i in range(40)}
    (tmp_path / "x.zip").write_bytes(zipped(members))
    opened = []

    class Counted(zipfile.ZipFile):
        def __init__(self, path: Path) -> None:
            opened.append(path)
            super().__init__(path)

    monkeypatch.setattr(archives.zipfile, "ZipFile", Counted)
    assert len(answered(tmp_path)[0]) == 40
    assert len(opened) == 1


def test_an_archive_that_was_replaced_is_opened_again(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(zipped({"a": slice_bytes(0)}))
    assert answered(path)[0] == {"ID_0"}
    path.write_bytes(zipped({"a": slice_bytes(1), "b": slice_bytes(2)}))
    assert answered(path)[0] == {"ID_1", "ID_2"}
    assert len(list(find_sources([path]))) == 2
