"""CSV downloads: streamed row by row, with cells that no spreadsheet runs as a formula."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence

from django.http import StreamingHttpResponse

# Characters that a spreadsheet takes for the start of a formula.
_ACTIVE = ("=", "+", "-", "@", "\t", "\r", "\n")
# An amount, as money.format_usd writes it.
_AMOUNT = re.compile(r"-[0-9]+\.[0-9]{2,6}", re.ASCII)


def download(filename: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> StreamingHttpResponse:
    """A file to save: a line of column names, then the rows. Only one row at a time is in memory."""
    answer = StreamingHttpResponse(lines(columns, rows), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{filename}"'
    return answer


def lines(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of the file, with every cell inert."""
    writer = csv.writer(_Echo())
    yield writer.writerow(columns)
    for row in rows:
        yield writer.writerow([cell if isinstance(cell, int) else inert(str(cell)) for cell in row])


def inert(cell: str) -> str:
    """A cell that a spreadsheet shows as text: text that looks like a formula gets an apostrophe in front."""
    return f"'{cell}" if cell.startswith(_ACTIVE) and not _AMOUNT.fullmatch(cell) else cell


class _Echo:
    """A file that returns what is written to it, so that `csv` can stream."""

    def write(self, row: str) -> str:
        return row
