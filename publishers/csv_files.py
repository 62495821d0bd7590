"""CSV downloads: streamed row by row, readable by spreadsheets, with cells that no spreadsheet runs as a formula."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence

from django.http import StreamingHttpResponse

# Excel reads a file without this mark in the system's old code page, and garbles every letter outside ASCII.
_BYTE_ORDER_MARK = "\ufeff"
# The start of a formula, in half or full width, where a spreadsheet may begin a cell: at the start of the text, and
# after a character that it splits at. In countries with a decimal comma it splits at semicolons, also within quotes.
_FORMULA = re.compile(r"""(^|[;\t\r\n])(["'\s]*[=+\-@＝＋－＠])""")
_CONTROL = re.compile(r"^[\t\r\n]")
# An amount, as money.format_usd writes it.
_AMOUNT = re.compile(r"-[0-9]+\.[0-9]{2,6}", re.ASCII)


def download(filename: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> StreamingHttpResponse:
    """A file to save: a line of column names, then the rows. Only one row at a time is in memory.

    The rows are read while the file is sent, which can take long: read them in pages, never through one open cursor.
    """
    answer = StreamingHttpResponse(lines(columns, rows), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{filename}"'
    return answer


def lines(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of the file, with every cell inert."""
    writer = csv.writer(_Echo())
    yield _BYTE_ORDER_MARK + writer.writerow(columns)
    for row in rows:
        yield writer.writerow([cell if isinstance(cell, int) else inert(str(cell)) for cell in row])


def inert(cell: str) -> str:
    """A cell that a spreadsheet shows as text: whatever could become a formula gets an apostrophe in front."""
    if _AMOUNT.fullmatch(cell):
        return cell
    return _CONTROL.sub(r"'\g<0>", _FORMULA.sub(r"\1'\2", cell))


class _Echo:
    """A file that returns what is written to it, so that `csv` can stream."""

    def write(self, row: str) -> str:
        return row
