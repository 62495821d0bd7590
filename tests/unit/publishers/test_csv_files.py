"""CSV files: letters that Excel can read, no formula in any spreadsheet, and one row in memory at a time."""

import csv
import io
import itertools

import pytest

from publishers import csv_files

_ACTIVE = "=+-@＝＋－＠"


def read(*cells, delimiter=","):
    """The cells as a spreadsheet reads them that splits at this delimiter."""
    text = "".join(csv_files.lines(["a"] * len(cells), [cells])).removeprefix("\ufeff")
    return list(itertools.chain.from_iterable(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)))


def test_the_file_begins_with_the_mark_that_excel_looks_for():
    answer = csv_files.download("a.csv", ["title"], [["Café"]])
    assert b"".join(answer) == b"\xef\xbb\xbftitle\r\nCaf\xc3\xa9\r\n"


@pytest.mark.parametrize("sign", [*_ACTIVE, "\t", "\r", "\n", " =", '"='])
@pytest.mark.parametrize("before", ["", "x;", 'x;"', "x; ", 'a,"b;', "x\n", "x\r", "x\t"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_cell_is_a_formula_wherever_the_spreadsheet_splits(sign, before, delimiter):
    for cell in read("first", f"{before}{sign}1+1", "last", delimiter=delimiter):
        assert not cell.lstrip(' "\t\r\n').startswith(tuple(_ACTIVE)), cell


@pytest.mark.parametrize("cell", ["Owls - and bats", "a;b", "-0.25", "-1234.567891", "it's", "“Owls”", "a=b", ""])
def test_other_text_and_amounts_stay_as_they_are(cell):
    assert csv_files.inert(cell) == cell


@pytest.mark.parametrize("first", ["\t", "\r", "\n"])
def test_a_cell_that_begins_with_a_control_character_is_text(first):
    assert csv_files.inert(f"{first}SUM(A1)") == f"'{first}SUM(A1)"


def test_numbers_stay_numbers():
    assert read(-250_000, "-0.25", "-2")[3:] == ["-250000", "-0.25", "'-2"]


def test_a_file_of_any_length_is_read_row_by_row():
    taken = []
    rows = ([taken.append(number) or number] for number in itertools.count())
    lines = csv_files.lines(["number"], rows)
    assert list(itertools.islice(lines, 4))[1:] == ["0\r\n", "1\r\n", "2\r\n"]
    assert taken == [0, 1, 2]
