"""CSV downloads: streamed row by row, with cells that no spreadsheet runs as a formula."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence

from django.http import StreamingHttpResponse

# What a spreadsheet takes for the beginning of a formula.
_ACTIVE = ("=", "+", "-", "@", "\t", "\r", "\n")
# An amount, as money.format_usd writes it.
_AMOUNT = re.compile(r"-[0-9]+\.[0-9]{2,6}", re.ASCII)


def download(filename: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> StreamingHttpResponse:
    """A file to save: a line of column names, then the rows. Nothing is kept in memory but the row at hand."""
    answer = StreamingHttpResponse(lines(columns, rows), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{filename}"'
    return answer


def lines(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of the file, each cell made inert."""
    writer = csv.writer(_Echo())
    yield writer.writerow(columns)
    for row in rows:
        yield writer.writerow([cell if isinstance(cell, int) else inert(str(cell)) for cell in row])


def inert(cell: str) -> str:
    """A cell that a spreadsheet shows instead of running it: an apostrophe before what looks like a formula."""
    return f"'{cell}" if cell.startswith(_ACTIVE) and not _AMOUNT.fullmatch(cell) else cell


class _Echo:
    """A file that hands back what is written, so that `csv` can stream."""

    def write(self, row: str) -> str:
        return row
