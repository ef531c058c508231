"""Tables are read whatever their dialect and encoding, and what cannot be read is named by line and column."""

import csv
import gzip
import io
import json

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chainrule.data import encodings, records
from chainrule.data.tables import MISSING, infer_column, load_table, read_table
from chainrule.errors import DataError


@pytest.fixture
def write(tmp_path):
    """Write bytes or text to a file of that name and return its path."""

    def write_file(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def outcome(path):
    """The table, or the message with which a file is refused; anything else is a failure."""
    try:
        return load_table(path)
    except DataError as error:
        return str(error)


def refusal(path):
    """The message with which a file is refused."""
    with pytest.raises(DataError) as caught:
        load_table(path)
    return str(caught.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_the_delimiter_and_the_line_ends_are_found(write, delimiter, line_end):
    rows = ["name age", '"a;b,c|d" 1', "e 2.5", ""]
    path = write(line_end.join(row.replace(" ", delimiter) for row in rows))
    assert read_table(path).to_dict(as_series=False) == {"name": ["a;b,c|d", "e"], "age": [1.0, 2.5]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_the_encoding_is_found(write, encoding):
    table = load_table(write("größe,preis €\nklein,1\n".encode(encoding)))
    assert table.frame.to_dict(as_series=False) == {"größe": ["klein"], "preis €": [1]}
    assert bool(table.notes) == (not encoding.startswith("utf-8"))


@pytest.mark.parametrize("marker", [*MISSING, " ", '""', '"NA"', " NA "])
def test_missing_markers_are_null_in_numbers_and_in_text(write, marker):
    frame = read_table(write(f"number,text\n1,a\n{marker},{marker}\n2,b\n"))
    assert frame["number"].to_list() == [1, None, 2]
    assert frame["text"].to_list() == ["a", None, "b"]


def test_columns_are_numbers_only_where_every_cell_is_one():
    cases = {
        ("1", "-2", "+3"): pl.Int64,
        ("1", "2.5", "1e5", ".5", "5."): pl.Float64,
        ("01067", "10115"): pl.String,
        ("12345678901234567890", "22345678901234567891"): pl.String,
        ("1", "x"): pl.String,
        ("1_000", "2"): pl.String,
        (" 1 ", "2"): pl.Int64,
    }
    for cells, dtype in cases.items():
        assert infer_column(pl.Series(cells)).dtype == dtype, cells


def test_a_bad_cell_far_down_keeps_the_column_text():
    assert infer_column(pl.Series(["1"] * 500 + ["x"])).dtype == pl.String
    assert infer_column(pl.Series(["1"] * 500 + ["2.5"])).dtype == pl.Float64


def test_decimal_commas_are_read_where_semicolons_part_the_columns(write):
    table = load_table(write("a;b\n1,5;2\n-3;4\n"))
    assert table.frame.to_dict(as_series=False) == {"a": [1.5, -3.0], "b": [2, 4]}
    assert "decimal commas" in table.notes[0]


def test_rows_know_their_lines_past_blank_lines_and_quoted_line_ends(write):
    table = load_table(write('\n\na,b\n"x\ny",1\n\nz,2\n\n\n'))
    assert table.frame["a"].to_list() == ["x\ny", "z"]
    assert table.lines.tolist() == [4, 7]


def test_a_quotation_mark_inside_a_value_is_text(write):
    assert read_table(write('pipe,n\n5" wide,1\nnarrow,2\n'))["pipe"].to_list() == ['5" wide', "narrow"]


def test_gzip_is_unpacked_whatever_the_name(write):
    packed = gzip.compress(b"a,b\n1,2\n")
    for name in ("t.csv.gz", "t.csv", "t.tsv.gz"):
        content = packed if "csv" in name else gzip.compress(b"a\tb\n1\t2\n")
        assert read_table(write(content, name)).to_dict(as_series=False) == {"a": [1], "b": [2]}
    assert "damaged gzip" in refusal(write(packed[:-6], "u.csv.gz"))


def test_parquet_and_json_lines_give_the_same_table(tmp_path):
    frame = pl.DataFrame({"n": [1, None, 3], "x": [0.5, 1.5, None], "t": ["a", None, "c"], "b": [True, False, None]})
    frame.write_parquet(tmp_path / "t.parquet")
    frame.write_ndjson(tmp_path / "t.jsonl")
    assert read_table(tmp_path / "t.parquet").equals(frame)
    assert read_table(tmp_path / "t.jsonl").equals(frame)


def test_json_lines_may_lack_keys_and_have_blank_lines(write):
    table = load_table(write('{"a": 1}\n\n{"a": 2, "b": "NA"}\r\n{"b": "x"}', "t.ndjson"))
    assert table.frame.to_dict(as_series=False) == {"a": [1, 2, None], "b": [None, None, "x"]}
    assert table.lines.tolist() == [1, 3, 4]


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], include_characters="\n"), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(rows=st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=12), delimiter=st.sampled_from(",;\t|"))
def test_what_the_csv_module_writes_is_read_cell_by_cell(tmp_path, rows, delimiter):
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([["one", "two", "last"], *rows])
    data = np.frombuffer(text.getvalue().encode(), np.uint8)
    layout = records.read_layout("t.csv", data)
    assert layout.delimiter == delimiter
    assert layout.lines.size == len(rows)
    reader = csv.reader(io.StringIO(text.getvalue(), newline=""), delimiter=delimiter)
    ends = [reader.line_num for _ in reader]
    assert layout.lines.tolist() == [end + 1 for end in ends[:-1]]
    path = tmp_path / "t.csv"
    path.write_bytes(text.getvalue().encode())
    frame = read_table(path)
    for column, cells in zip(frame.get_columns(), zip(*rows, strict=True), strict=True):
        if column.dtype == pl.String:
            expected = pl.Series(cells).str.strip_chars().to_list()
            assert column.to_list() == [None if cell in MISSING else cell for cell in expected]
        else:
            assert column.to_list() == [None if cell in MISSING else float(cell) for cell in map(str.strip, cells)]


def test_pieces_do_not_change_what_is_found(monkeypatch, write):
    content = 'a,b\n"x\n,""y",1\n' * 1 + '"é, ü",2\n\n"long\n\n\nvalue",3\n' * 5
    whole = load_table(write(content))
    for size in (1, 2, 3, 7, 16):
        monkeypatch.setattr(records, "CHUNK", size)
        monkeypatch.setattr(encodings, "CHUNK", size)
        cut = load_table(write(content))
        assert cut.frame.equals(whole.frame)
        assert cut.lines.tolist() == whole.lines.tolist()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["empty"]),
        (" \n\n", ["blank"]),
        ("a,b\n", ["no rows", "line 1"]),
        ("a,b\n1,2\n3\n", ["line 3", "found 1 value,", "expected 2"]),
        ('a,b\n"x\ny",2\n3,4,5\n', ["line 4", "found 3", "expected 2"]),
        ("a,b,a\n1,2,3\n", ["columns 1 and 3", '"a"']),
        ("a,,c\n1,2,3\n", ["column 2 of 3", "no name"]),
        ('a,b\n1,2\n"x,4\n5,6\n', ["line 3", "never closes"]),
        ("a,é\n1,2\n".encode() + b"\xff,3\n", ["byte 9", "line 3", "0xff", "UTF-8"]),
        (b"a,b\n1,\x81\n", ["byte 6", "line 2", "0x81", "Windows-1252"]),
        (b"\xff\xfea\x00,\x00b", ["UTF-16"]),
        (b"PK\x03\x04" + bytes(range(256)), ["Excel"]),
        (bytes(range(1, 256)), ["no text", "byte 0"]),
        (b"a,b\n" + b"1,2\n" * 20000 + b"\0,2\n", ["byte 80004", "line 20002"]),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_place(write, content, words):
    message = refusal(write(content))
    assert all(word in message for word in ["table.csv", *words]), message
    assert "\n" not in message


def test_giant_values_are_refused_before_they_are_read(monkeypatch, write):
    monkeypatch.setattr(records, "LARGEST_RECORD", 1000)
    assert "line 3" in refusal(write("a,b\n1,2\n" + "x" * 1001 + ",2\n"))
    monkeypatch.setattr(records, "CHUNK", 64)
    message = refusal(write('a,b\n1,2\n3,"' + "x\n" * 5000))
    assert "line 3" in message
    assert "does not close" in message


@pytest.mark.parametrize(
    ("line", "words"),
    [("rubbish", "no JSON"), ("[1]", "a list"), ("5", "single value"), ('{"a": NaN}', "NaN"), ('{"a": 1', "no JSON")],
)
def test_a_bad_line_of_json_is_named(write, line, words):
    message = refusal(write('{"a": 1}\n' + line + "\n", "t.jsonl"))
    assert all(word in message for word in ["t.jsonl", "line 2", words])


def test_paths_that_are_no_tables_are_refused(tmp_path, write):
    assert "folder" in refusal(tmp_path)
    assert "table.csv?" in refusal(write("a\n1\n").with_name("tabel.csv"))
    assert ".parquet" in refusal(write("x", "t.xlsx"))
    assert "empty" in refusal(write("", "t.parquet"))
    assert "no Parquet" in refusal(write("PAR1 and rubbish", "t.parquet"))


def test_damaged_parquet_is_refused_or_read_but_never_a_crash(tmp_path, rng):
    good = tmp_path / "good.parquet"
    pl.DataFrame({"a": range(50), "b": ["x", "y"] * 25}).write_parquet(good)
    content = good.read_bytes()
    path = tmp_path / "bad.parquet"
    for _ in range(60):
        damaged = bytearray(content)
        damaged[int(rng.integers(len(damaged)))] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        found = outcome(path)
        assert not isinstance(found, str) or "bad.parquet" in found


def test_ten_thousand_columns_are_read(write):
    names = [f"c{number}" for number in range(10_000)]
    frame = read_table(write(",".join(names) + "\n" + "\n".join([",".join(["1.5"] * 10_000)] * 3)))
    assert frame.shape == (3, 10_000)
    assert set(frame.dtypes) == {pl.Float64}


def test_random_bytes_end_in_a_table_or_one_sentence(write, rng):
    alphabet = np.frombuffer(b'ab1,;\t|"\n\r .\xc3\xa9\xff\x00', np.uint8)
    for _ in range(300):
        content = rng.choice(alphabet, int(rng.integers(1, 60))).tobytes()
        found = outcome(write(content))
        if isinstance(found, str):
            assert "\n" not in found
        else:
            assert found.frame.height == found.lines.size > 0


def test_json_with_random_damage_ends_in_a_table_or_one_sentence(write, rng):
    good = "\n".join(json.dumps({"a": n, "b": [None, "x"][n % 2], "c": n / 2}) for n in range(5)).encode()
    for _ in range(200):
        damaged = bytearray(good)
        damaged[int(rng.integers(len(damaged)))] = int(rng.integers(32, 127))
        found = outcome(write(bytes(damaged), "t.jsonl"))
        assert not isinstance(found, str) or "\n" not in found


def test_row_numbers_before_the_columns_have_a_name(write):
    # pandas.DataFrame.to_csv writes them without one.
    frame = read_table(write(",x,y\n0,1.5,a\n1,2.5,b\n"))
    assert frame.columns == ["(row)", "x", "y"]
    assert frame["(row)"].to_list() == [0, 1]
