"""Generated files come out as the table that went in, by pandas for CSV, json for JSONL and pyarrow for Parquet."""

import csv
import gzip
import io
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.bulk import ADDED


def fuzz(examples: int):
    """Hypothesis with as many files, for a test that writes to folders of its own."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, deadline=None, suppress_health_check=checks)


# Whatever the reader or the writer of a format might take for something else.
ODD = st.sampled_from(
    ['"', ",", ";", "\t", "|", "\r", "\n", "\r\n", " ", "'", "\\", "\ufeff", "\x85", "\u2028", "é", "😀"]
)
ODD_TEXT = st.lists(ODD | st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8).map("".join)
VALUES = (
    st.sampled_from(["007", "1e5", "NaN", "NULL", "", "1.50", " x ", "true", "2024-01-01", "=1+1", "#", "-0"])
    | ODD_TEXT
)
DOCUMENTS = ODD_TEXT | ODD_TEXT.map(lambda text: f"The council met. {text}")


def check_rows(done, before: list, after: list) -> None:
    """Written and rejected rows together are those of the input, in order; `after` has the added columns last."""
    written, rejected = iter(after), {reject["row"]: reject["content"] for reject in done.rejects}
    rows = [rejected[number] if number in rejected else next(written) for number in range(1, len(before) + 1)]
    assert rows == before
    assert next(written, None) is None
    assert done.said.startswith(f"Rows: {len(before):,} read, {len(after):,} written to ")


@st.composite
def csv_files(draw):
    """A table and a CSV file of it in any dialect."""
    names = draw(
        st.lists(ODD_TEXT.filter(bool), unique=True, max_size=3).filter(
            lambda names: not {*ADDED, "document"} & {*names}
        )
    )
    names.insert(draw(st.integers(0, len(names))), "document")
    names[0] = names[0].lstrip("\ufeff") or "first"  # pandas takes any number of them for byte order marks
    row = st.tuples(*(DOCUMENTS if name == "document" else VALUES for name in names)).map(list)
    rows = draw(st.lists(row, max_size=12))
    delimiter = draw(st.sampled_from(",;\t|")) if len(names) > 1 else ","
    line_end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    quote_all, lax = draw(st.booleans()), draw(st.booleans())

    def field(value: str) -> str:
        """Quoted where it has to be; a lax writer leaves quotes alone that are not a value's first character."""
        special = quote_all or (not value and len(names) == 1) or any(mark in value for mark in "\r\n,;\t|")
        special = special or (value.startswith('"') if lax else '"' in value)
        return f'"{value.replace(chr(34), chr(34) * 2)}"' if special or value.startswith("\ufeff") else value

    text = line_end.join(delimiter.join(map(field, record)) for record in [names, *rows])
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]))
    if encoding in ("utf-16-le", "utf-16-be") and not text[:2].isascii():
        encoding = "utf-16"  # without a mark it is known by its first characters
    data = (text + draw(st.sampled_from(["", line_end, line_end * 3]))).encode(encoding)
    return names, rows, delimiter, gzip.compress(data) if draw(st.booleans()) else data


def check_csv(case, folder, stub_run):
    names, rows, delimiter, data = case
    suffix = ".csv.gz" if data.startswith(b"\x1f\x8b") else ".csv"
    source = folder / f"in{suffix}"
    source.write_bytes(data)
    done = stub_run([source], f"out{suffix}")

    def read(path, encoding: str) -> tuple[list, list]:
        """Header and rows by pandas, which would rename a column and skip a line that it takes for blank."""
        frame = pd.read_csv(
            path,
            sep=delimiter,
            encoding=encoding,
            dtype=str,
            keep_default_na=False,
            header=None,
            skip_blank_lines=False,
        )
        header, *records = frame.to_numpy().tolist()
        return header, records

    header, records = read(done.out, "utf-8")
    assert header == [*names, *ADDED]
    for record in records:
        document = record[names.index("document")]
        counts = ["1", "1", "1", "false", "0", "end", "false", "false"]
        assert record[len(names) :] == [document[::-1], *counts, "", "", ""]
    check_rows(done, rows, [record[: len(names)] for record in records])
    text = gzip.decompress(done.out.read_bytes()) if suffix == ".csv.gz" else done.out.read_bytes()
    assert list(csv.reader(io.StringIO(text.decode("utf-8-sig"), newline=""), delimiter=delimiter)) == [
        header,
        *records,
    ]


@fuzz(35)
@given(csv_files())
def test_csv_files_come_out_as_pandas_reads_them(tmp_path, stub_run, case):
    check_csv(case, tmp_path, stub_run)


@pytest.mark.slow  # a minute on an idle machine
@fuzz(700)
@given(csv_files())
def test_many_csv_files(tmp_path, stub_run, case):
    check_csv(case, tmp_path, stub_run)


NUMBERS = st.sampled_from(["1.00", "-0", "1e400", "0.1000000000000000055", "9" * 400, "1E+2", "123456789012345678901"])
TEXTS = st.text(max_size=6) | ODD_TEXT
LITERALS = (
    NUMBERS
    | st.sampled_from(["null", "true", r'"\ud800"', r'"\u00e9\/"', "{ }", "[]", '{"a": {"a": 1}}'])
    | st.builds(json.dumps, st.text(max_size=6), ensure_ascii=st.booleans()).filter(lambda text: text.isascii())
    | st.builds(json.dumps, ODD_TEXT, ensure_ascii=st.just(False))
)


@st.composite
def jsonl_files(draw):
    """Rows as lists of names and values as they stand in the file, and the file."""
    blank = st.sampled_from(["", " ", "\t"])

    def line() -> str:
        items = [(json.dumps(draw(ODD_TEXT.map("_".__add__))), draw(LITERALS)) for _ in range(draw(st.integers(0, 4)))]
        items.insert(
            draw(st.integers(0, len(items))),
            ('"document"', json.dumps(draw(DOCUMENTS), ensure_ascii=draw(st.booleans()))),
        )
        if draw(st.booleans()):
            items.append(items[0])  # twice the same name
        return "{" + ",".join(draw(blank).join(["", name, ":", value, ""]) for name, value in items) + draw(blank) + "}"

    rows = [line() for _ in range(draw(st.integers(0, 8)))]
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    text = line_end.join(rows) + draw(st.sampled_from(["", line_end, line_end * 2]))
    encodings = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"] if rows else ["utf-8"]
    return rows, text.encode(draw(st.sampled_from(encodings)))


def check_jsonl(case, folder, stub_run):
    rows, data = case
    source = folder / "in.jsonl"
    source.write_bytes(data)
    done = stub_run([source], "out.jsonl")

    def pairs(text: str) -> list:
        """Names and values in order, numbers as they are written."""
        return json.loads(text, object_pairs_hook=list, parse_int=str, parse_float=str)

    written = [pairs(line.decode()) for line in done.out.read_bytes().splitlines()]
    for items in written:
        document = dict(items[: -len(ADDED)])["document"]
        added = [document[::-1], "1", "1", "1", False, "0", "end", False, False, None, None, None]
        assert items[-len(ADDED) :] == list(zip(ADDED, added, strict=True))
    rejected = [reject | {"content": pairs(reject["content"])} for reject in done.rejects]
    check_rows(done._replace(rejects=rejected), list(map(pairs, rows)), [items[: -len(ADDED)] for items in written])


@fuzz(35)
@given(jsonl_files())
def test_jsonl_files_keep_names_values_and_order(tmp_path, stub_run, case):
    check_jsonl(case, tmp_path, stub_run)


@pytest.mark.slow  # a minute on an idle machine
@fuzz(700)
@given(jsonl_files())
def test_many_jsonl_files(tmp_path, stub_run, case):
    check_jsonl(case, tmp_path, stub_run)


INT64 = st.integers(-(2**63), 2**63 - 1)
UNITS = ("s", "ms", "us", "ns")
# A type, and the values of it or the whole numbers that stand for them. No NaN: Arrow finds it different from itself.
SIMPLE = [
    *((getattr(pa, f"int{bits}")(), st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)) for bits in (8, 16, 32, 64)),
    *((getattr(pa, f"uint{bits}")(), st.integers(0, 2**bits - 1)) for bits in (8, 16, 32, 64)),
    (pa.float16(), st.floats(width=16, allow_nan=False)),
    (pa.float32(), st.floats(width=32, allow_nan=False)),
    (pa.float64(), st.floats(allow_nan=False)),
    (pa.bool_(), st.booleans()),
    (pa.null(), st.none()),
    (pa.decimal128(38, 4), st.decimals(-(10**30), 10**30, places=4)),
    (pa.decimal256(50, 0), st.integers(-(10**49), 10**49)),
    *((kind, ODD_TEXT) for kind in (pa.string(), pa.large_string(), pa.string_view())),
    *((kind, st.binary(max_size=5)) for kind in (pa.binary(), pa.large_binary(), pa.binary_view())),
    (pa.binary(3), st.binary(min_size=3, max_size=3)),
    (pa.date32(), st.dates()),
    (pa.date64(), st.dates()),
    (pa.time32("s"), st.times().map(lambda value: value.replace(microsecond=0))),
    (pa.time64("us"), st.times()),
    (pa.time64("ns"), st.integers(0, 86400 * 10**9 - 1)),
    *((pa.duration(unit), INT64) for unit in UNITS),
    # Arrow stores seconds as milliseconds.
    *(
        (pa.timestamp(unit, zone), INT64.map(lambda n: n // 1024))
        for unit in UNITS
        for zone in (None, "UTC", "Europe/Paris")
    ),
]


@st.composite
def arrays(draw, size: int):
    """A column of any type that Parquet stores."""
    kind, values = draw(st.sampled_from(SIMPLE))
    nested = ["dictionary", "list", "large_list", "fixed", "struct", "map"] if kind != pa.null() else []
    shape = draw(st.sampled_from(["plain"] * 4 + nested))
    flat = pa.array(draw(st.lists(st.none() | values, min_size=2 * size, max_size=2 * size)), kind)
    if shape == "dictionary" and kind in (pa.string(), pa.int32(), pa.large_string()):
        return flat[:size].dictionary_encode()
    offsets = pa.array(range(0, 2 * size + 1, 2), pa.int32())
    if shape == "list":
        return pa.ListArray.from_arrays(offsets, flat)
    if shape == "large_list":
        return pa.LargeListArray.from_arrays(offsets.cast(pa.int64()), flat)
    if shape == "fixed":
        return pa.FixedSizeListArray.from_arrays(flat, 2)
    if shape == "struct":
        return pa.StructArray.from_arrays([flat[:size], pa.array(range(size))], ["a b", "n"])
    if shape == "map":
        return pa.MapArray.from_arrays(offsets, pa.array([str(i) for i in range(2 * size)], pa.string()), flat)
    return flat[:size]


@st.composite
def parquet_files(draw):
    """A table and a Parquet file of it."""
    size = draw(st.integers(0, 12))
    text = draw(
        st.sampled_from([pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
    )
    documents = pa.array(draw(st.lists(st.none() | DOCUMENTS, min_size=size, max_size=size)), text)
    names = draw(st.lists(ODD_TEXT.filter(bool), unique=True, max_size=4))
    names = [name for name in names if name not in (*ADDED, "document")]
    columns = [draw(arrays(size)) for _ in names]
    place = draw(st.integers(0, len(names)))
    names.insert(place, "document")
    columns.insert(place, documents)
    fields = [
        pa.field(name, column.type, nullable=True, metadata={"note": name.encode()} if draw(st.booleans()) else None)
        for name, column in zip(names, columns, strict=True)
    ]
    table = pa.table(columns, schema=pa.schema(fields, {"made": "by hand"} if draw(st.booleans()) else None))
    options = {
        "compression": draw(st.sampled_from(["none", "snappy", "zstd"])),
        "use_dictionary": draw(st.booleans()),
        "store_schema": draw(st.booleans()),
    }
    buffer = io.BytesIO()
    try:
        pq.write_table(table, buffer, row_group_size=draw(st.integers(1, 8)), **options)
    except pa.ArrowNotImplementedError:  # it cannot divide some nested columns with string views
        buffer = io.BytesIO()
        pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def check_parquet(data, folder, stub_run):
    source = folder / "in.parquet"
    source.write_bytes(data)
    before = pq.ParquetFile(source).read()
    done = stub_run([source], "out.parquet")
    after = pq.ParquetFile(done.out).read()
    assert after.schema.names == [*before.schema.names, *ADDED]
    rejected = {reject["row"] - 1 for reject in done.rejects}
    accepted = [i for i in range(before.num_rows) if i not in rejected]
    rest = after.drop_columns(ADDED)
    assert rest.schema.equals(before.schema, check_metadata=True)
    assert rest.equals(pa.concat_tables([before[:0], *(before.slice(i, 1) for i in accepted)]))
    documents = before["document"].to_pylist()
    assert after["summary"].to_pylist() == [documents[i][::-1] for i in accepted]
    assert all(documents[i] is None or "council" not in documents[i] for i in rejected)
    for reject in done.rejects:
        assert reject["content"]["document"] == documents[reject["row"] - 1]


@fuzz(35)
@given(parquet_files())
def test_parquet_files_keep_columns_types_and_metadata(tmp_path, stub_run, case):
    check_parquet(case, tmp_path, stub_run)


@pytest.mark.slow  # a minute on an idle machine
@fuzz(700)
@given(parquet_files())
def test_many_parquet_files(tmp_path, stub_run, case):
    check_parquet(case, tmp_path, stub_run)
