"""Label CSVs against a reader of a few naive lines, and their faults by line."""

import csv
import gzip
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.tables import label_csv as labels
from tfrecords_tools.tables.label_csv import LabelError, read_labels, read_study_labels

IDS = st.from_regex(r"ID_[0-9a-f]{9}", fullmatch=True)
ROWS = st.lists(st.booleans(), min_size=5, max_size=5)
TABLES = st.dictionaries(IDS, ROWS, min_size=1, max_size=12)
IN_TMP_PATH = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50
)


def six(subtypes: list[bool]) -> list[int]:
    return [*map(int, subtypes), int(any(subtypes))]


def long_rows(table: dict[str, list[bool]]) -> list[str]:
    return [
        f"{slice_id}_{label},{value}"
        for slice_id, subtypes in table.items()
        for label, value in zip(LABELS, six(subtypes), strict=True)
    ]


def naive(path: Path) -> dict[str, list[int]]:
    """The long form by csv.reader, trusting every row."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    table: dict[str, list[int]] = {}
    for name, value in rows:
        slice_id, label = name.rsplit("_", 1)
        table.setdefault(slice_id, [-1] * 6)[LABELS.index(label)] = int(value)
    return table


def as_dict(frame: pd.DataFrame) -> dict[str, list[int]]:
    assert tuple(frame.columns) == LABELS
    assert frame.index.name == "slice_id"
    assert frame.index.is_unique
    assert (frame.dtypes == np.uint8).all()
    return {name: list(map(int, row)) for name, row in zip(frame.index, frame.values, strict=True)}


def write(path: Path, lines: list[str], end: str = "\n") -> Path:
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


def fault(path: Path) -> str:
    with pytest.raises(LabelError) as caught:
        read_labels(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


SLICES = {"ID_aa": [True, False, False, False, False], "ID_bb": [False] * 5}


def broken(tmp_path: Path, line: int, row: str | None) -> Path:
    """Two slices whose long CSV has another row (or none) at this line."""
    lines = ["ID,Label", *long_rows(SLICES)]
    lines[line - 1 : line] = [] if row is None else [row]
    return write(tmp_path / "labels.csv", lines)


@given(table=TABLES, seed=st.integers(0, 2**32 - 1), doubled=st.booleans(), data=st.data())
@IN_TMP_PATH
def test_any_order_of_rows(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    table: dict[str, list[bool]],
    seed: int,
    doubled: bool,
    data: st.DataObject,
) -> None:
    monkeypatch.setattr(labels, "CHUNK_ROWS", data.draw(st.integers(1, 100)))
    rows = long_rows(table)
    rows += rows[:6] if doubled else []
    order = np.random.default_rng(seed).permutation(len(rows))
    path = write(tmp_path / "long.csv", ["ID,Label", *(rows[i] for i in order)])
    found = as_dict(read_labels(path))
    assert found == naive(path)
    assert list(found) == list(naive(path))


@given(table=TABLES)
@IN_TMP_PATH
def test_the_wide_form_equals_the_long_form(tmp_path: Path, table: dict[str, list[bool]]) -> None:
    long = write(tmp_path / "long.csv", ["ID,Label", *long_rows(table)])
    rows = [f"{name},{','.join(map(str, six(row)))}" for name, row in table.items()]
    wide = write(tmp_path / "wide.csv", [f"id,{','.join(LABELS)}", *rows])
    pd.testing.assert_frame_equal(read_labels(wide), read_labels(long))


@pytest.mark.parametrize("column", ["id", "slice_id", "SOPInstanceUID"])
def test_the_id_column_of_the_wide_form_has_several_names(tmp_path: Path, column: str) -> None:
    """Of up to 64 characters, as the UID of a slice has."""
    uid = "1." * 31 + "12"
    path = write(tmp_path / "wide.csv", [f"{column},{','.join(LABELS)}", f"{uid},0,1,0,0,0,1"])
    assert as_dict(read_labels(path)) == {uid: [0, 1, 0, 0, 0, 1]}


def test_the_wide_form_may_have_extra_columns_in_any_order(tmp_path: Path) -> None:
    columns = ["", "Any", "reader", "slice_id", *reversed(SUBTYPES)]
    path = write(
        tmp_path / "wide.csv", [",".join(columns), "0,1,anna,ID_aa.dcm,0,0,0,0,1", ",,,,,,,,"]
    )
    assert as_dict(read_labels(path)) == {"ID_aa": [1, 0, 0, 0, 0, 1]}


@pytest.mark.parametrize("column", ["study_id", "StudyInstanceUID"])
def test_labels_of_studies(tmp_path: Path, column: str) -> None:
    path = write(
        tmp_path / "studies.csv",
        [f"{column},{','.join(LABELS)}", "1.2,0,1,0,0,0,1", "1.3,0,0,0,0,0,0"],
    )
    found = read_study_labels(path)
    assert found.index.name == "study_id"
    assert as_dict(found.rename_axis("slice_id")) == {"1.2": [0, 1, 0, 0, 0, 1], "1.3": [0] * 6}
    with pytest.raises(LabelError, match=f"has the columns {column}, epidural"):
        read_labels(path)
    some = write(tmp_path / "some.csv", [f"{column},any", "1.2,1"])
    with pytest.raises(LabelError, match=r"expected ID,Label or study_id,epidural,"):
        read_study_labels(some)
    found = read_study_labels(some, any_alone=True)
    assert found.index.name == "study_id"
    assert found.to_dict() == {"any": {"1.2": 1}}


def test_any_alone_is_accepted_only_where_no_kind_is_known(tmp_path: Path) -> None:
    path = write(tmp_path / "any.csv", ["slice_id,Any,age", "ID_aa,1,70", "ID_bb,0,60"])
    assert read_labels(path, any_alone=True).to_dict() == {"any": {"ID_aa": 1, "ID_bb": 0}}
    assert fault(path).startswith("has the columns slice_id, Any, age; expected ID,Label or id,")
    for lines, message in (
        (["id,subdural,any", "ID_aa,1,1"], "id, subdural, any; .*, or id,any if no kind is known"),
        (["id,any", "ID_aa,1", "ID_aa,0"], "lines 2 and 3 contradict each other on ID_aa_any"),
        (["id,any", "ID_aa,"], "line 2: expected a label of 0 or 1"),
        (["ID,Label", "ID_aa_any,1"], "5 rows are missing: ID_aa_epidural"),
    ):
        with pytest.raises(LabelError, match=message):
            read_labels(write(tmp_path / "other.csv", lines), any_alone=True)


@pytest.mark.parametrize(
    "variant", ["plain", "index", "crlf", "dcm", "gzip", "mark", "blank", "spaces", "unended"]
)
def test_common_variants_are_read(tmp_path: Path, variant: str) -> None:
    header, rows = "ID,Label", long_rows(SLICES)
    expected = read_labels(write(tmp_path / "plain.csv", [header, *rows]))
    text = "\n".join([header, *rows]) + "\n"
    if variant == "index":
        text = "\n".join([f",{header}", *(f"{i},{row}" for i, row in enumerate(rows))]) + "\n"
    elif variant == "crlf":
        text = text.replace("\n", "\r\n").removesuffix("\r\n")
    elif variant == "dcm":
        text = text.replace("ID_aa_", "ID_aa.dcm_")
    elif variant == "mark":
        text = "\ufeff" + text
    elif variant == "blank":
        text = text.replace("\nID_bb_epidural", "\n\n\nID_bb_epidural") + "\n"
    elif variant == "spaces":
        text = text.replace(",", " , ")
    elif variant == "unended":
        text = text.removesuffix("\n")
    path = tmp_path / ("labels.csv.gz" if variant == "gzip" else "labels.csv")
    path.write_bytes(gzip.compress(text.encode()) if variant == "gzip" else text.encode())
    pd.testing.assert_frame_equal(read_labels(path), expected)


def test_a_contradiction_names_both_lines(tmp_path: Path) -> None:
    lines = ["ID,Label", *long_rows(SLICES), "ID_bb_subdural,1"]
    assert fault(write(tmp_path / "labels.csv", lines)) == (
        "lines 12 and 14 contradict each other on ID_bb_subdural; 1 in total: remove the wrong row"
        " of each"
    )


@pytest.mark.parametrize("seed", range(8))
def test_contradictions_are_counted_and_the_first_is_named(tmp_path: Path, seed: int) -> None:
    table = {f"ID_{i:03}": [i % 2 == 0] * 5 for i in range(200)}
    others = {name: [not value for value in row] for name, row in table.items()}
    rows = [*long_rows(table), *long_rows(others)]
    np.random.default_rng(seed).shuffle(rows)
    first = rows[0].partition(",")[0].rpartition("_")[0]
    lines = [number for number, row in enumerate(rows, 2) if row.startswith(f"{first}_epidural,")]
    message = fault(write(tmp_path / "labels.csv", ["ID,Label", *rows]))
    assert message.startswith(
        f"lines {lines[0]} and {lines[1]} contradict each other on {first}_epidural; 1200 in total"
    )


def test_missing_rows_are_named_with_a_line_near_them(tmp_path: Path) -> None:
    assert fault(broken(tmp_path, 11, None)) == (
        "1 rows are missing: ID_bb_subarachnoid (other rows of the slice are near line 8); add them"
    )
    rows = [row for row in long_rows(SLICES) if "ID_aa" in row or "epidural" in row]
    assert fault(write(tmp_path / "labels.csv", ["ID,Label", *rows])) == (
        "5 rows are missing: ID_bb_intraparenchymal, ID_bb_intraventricular, ID_bb_subarachnoid"
        " (other rows of the slice are near line 8); add them"
    )


@pytest.mark.parametrize(
    "row",
    [
        "ID_aa_epidurl,1",
        "ID_aa,1",
        "_epidural,1",
        "epidural,1",
        "ID_a;a_epidural,1",
        ",1",
        "../../x_epidural,1",
        "ID_\x1b[2J_epidural,1",
        "x" * 65 + "_epidural,1",
    ],
)
def test_a_malformed_id_is_named_by_line(tmp_path: Path, row: str) -> None:
    assert fault(broken(tmp_path, 2, row)) == (
        "line 2: expected an id such as ID_012345678_epidural"
    )


@pytest.mark.parametrize("value", ["2", "", "0.5", "yes", "-1", "nan", "1.0"])
def test_a_malformed_value_is_named_by_line(tmp_path: Path, value: str) -> None:
    path = broken(tmp_path, 3, f"ID_aa_intraparenchymal,{value}")
    assert fault(path) == "line 3: expected a label of 0 or 1"


def test_malformed_ids_and_unknown_labels_are_named_together(tmp_path: Path) -> None:
    lines = ["ID,Label", *long_rows(SLICES)]
    lines[1], lines[3], lines[6] = "ID_a;a_epidural,1", "ID_aa_blood,1", "ID_aa,1"
    assert fault(write(tmp_path / "labels.csv", lines)) == (
        "line 2, 4, 7: expected an id such as ID_012345678_epidural"
    )


@pytest.mark.parametrize("name", ["NA", "nan", "None", "null", "007"])
def test_an_id_is_kept_as_written(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "wide.csv", [f"id,{','.join(LABELS)}", f"{name},0,1,0,0,0,1"])
    assert as_dict(read_labels(path)) == {name: [0, 1, 0, 0, 0, 1]}


def test_lines_are_counted_across_blank_lines_and_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "CHUNK_ROWS", 4)
    lines = ["ID,Label", "", *long_rows(SLICES), "", "ID_cc_any,x"]
    assert fault(write(tmp_path / "labels.csv", lines)) == "line 16: expected a label of 0 or 1"


def test_many_faults_are_counted(tmp_path: Path) -> None:
    lines = ["ID,Label", *(row[:-1] + "7" for row in long_rows(SLICES))]
    assert fault(write(tmp_path / "labels.csv", lines)).startswith("line 2, 3, 4 and 9 more: ")


def test_a_wrong_any_is_named_by_line(tmp_path: Path) -> None:
    wrong = "line {}: `any` is not the OR of the five labels ({}); correct it"
    assert fault(broken(tmp_path, 7, "ID_aa_any,0")) == wrong.format(7, "ID_aa")
    assert fault(broken(tmp_path, 13, "ID_bb_any,1")) == wrong.format(13, "ID_bb")
    rows = [f"ID_{x}{x}_{label},{label == 'any':d}" for x in "abcd" for label in LABELS]
    assert fault(write(tmp_path / "labels.csv", ["ID,Label", *rows])) == wrong.format(
        "7, 13, 19 and 1 more", "ID_aa, ID_bb, ID_cc"
    )


def test_faults_of_the_wide_form_are_named_by_line(tmp_path: Path) -> None:
    header = f"id,{','.join(LABELS)}"
    path = tmp_path / "wide.csv"
    good = "ID_aa,1,0,0,0,0,1"
    assert fault(write(path, [header, good, "ID_bb,0,0,0,0,0,1"])).startswith("line 3: `any`")
    assert fault(write(path, [header, good, "ID_bb,0,0,0,0,0"])).startswith("line 3: expected a la")
    assert fault(write(path, [header, good, "ID_aa,0,0,0,0,0,0"])).startswith("lines 2 and 3 contr")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a readable CSV (No columns to parse from file); download it again"),
        ("ID,Label\n", "has no rows below its header; download it again"),
        ("ID\nID_aa_any\n", "has the columns ID; expected ID,Label or id,epidural,"),
        (
            f"id,slice_id,{','.join(LABELS)}\nID_aa,ID_bb,0,0,0,0,0,0\n",
            "has the columns id, slice_id, epidural, ",  # two of them could be the slice's
        ),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(content, encoding="utf-8")
    assert fault(path).startswith(message)


def test_the_error_of_wrong_columns_names_the_expected_ones(tmp_path: Path) -> None:
    message = fault(write(tmp_path / "labels.csv", ["name,Category", "1,2"]))
    assert message == (
        "has the columns name, Category; expected ID,Label or"
        " id,epidural,intraparenchymal,intraventricular,subarachnoid,subdural,any"
    )


def test_an_extra_field_does_not_shift_the_others(tmp_path: Path) -> None:
    lines = ["ID,Label", *(f"{i},{row}" for i, row in enumerate(long_rows(SLICES)))]
    assert fault(write(tmp_path / "labels.csv", lines)).startswith("line 2, 3, 4 and 9 more: ")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("cut", "Compressed file ended before "),
        ("flipped", ""),  # whatever zlib stumbles over
        ("plain", "Not a gzipped file "),
    ],
)
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, damage: str, reason: str) -> None:
    rng = np.random.default_rng(0)
    table = {f"ID_{i:09x}": list(rng.random(5) < 0.5) for i in range(2000)}
    content = "\n".join(["ID,Label", *long_rows(table)]).encode()
    packed = bytearray(gzip.compress(content))
    if damage == "cut":
        packed = packed[: len(packed) // 2]
    elif damage == "flipped":
        packed[len(packed) // 2] ^= 0xFF
    else:
        packed = bytearray(content)
    path = tmp_path / "labels.csv.gz"
    path.write_bytes(packed)
    message = fault(path)
    assert message.startswith(f"not a readable CSV ({reason}")
    assert message.endswith("); download it again")


@pytest.mark.parametrize("rows", [0, 50_000])
def test_bytes_that_are_not_text_are_refused(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(b"ID,Label\n" + b"ID_aa_any,1\n" * rows + b"ID_\xff\xfe_any,1\n")
    message = fault(path)
    assert message.startswith("not a readable CSV ('utf-8' codec can't decode byte 0xff in ")
    assert message.endswith("); download it again")


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_labels(tmp_path / "none.csv")


@pytest.mark.slow
def test_the_labels_of_the_challenge(realdata: Path) -> None:
    path = realdata / "csv" / "stage_1_train.csv.gz"
    found = read_labels(path)
    assert len(found) == 674_258  # four of 674,262 stand twice
    assert found.index[0] == "ID_63eb1e259"
    percent = (found.mean() * 100).round(2)
    assert percent.to_dict() == {
        "epidural": 0.41,
        "intraparenchymal": 4.83,
        "intraventricular": 3.52,
        "subarachnoid": 4.76,
        "subdural": 6.30,
        "any": 14.40,
    }
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [row.strip().split(",") for row in itertools.islice(file, 1, 120_001)]
    for name, value in rows:
        slice_id, label = name.rsplit("_", 1)
        assert found.at[slice_id, label] == int(value)
