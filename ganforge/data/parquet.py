"""Tables of numbers from Parquet files, through the optional package pyarrow."""

from __future__ import annotations

import io
from typing import Any

from ganforge.contract.errors import DataError
from ganforge.data.text import reason_of

_MOST_CELLS = 100_000_000


def read_parquet(content: bytes, key: str, where: str) -> tuple[list[str], list[list[str]], list[str]]:
    """Return header, rows and the titles of other columns: the column `key` of text, and all columns of numbers.

    A column of lists of K numbers becomes K columns, ``TITLE.0`` to ``TITLE.K-1``. Cells are texts, as of a CSV file.

    Raises:
        DataError: pyarrow is not installed, or the file is invalid or too large.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise DataError(f"{where}: requires pyarrow", 'pip install "ganforge[parquet]"') from error
    try:
        file = parquet.ParquetFile(io.BytesIO(content))
        kinds = {field.name: field.type for field in file.schema_arrow}
        titles = [title for title, kind in kinds.items() if title != key and _holds_numbers(kind)]
        if file.metadata.num_rows * (len(titles) + 1) > _MOST_CELLS:
            raise DataError(f"{where}: more than {_MOST_CELLS:,} cells", "keep the rows of the pictures only")
        columns = file.read(columns=[each for each in (key, *titles) if each in kinds]).to_pydict()
    except (ArrowException, OSError, ValueError) as error:
        raise DataError(f"{where}: invalid Parquet: {reason_of(error)}", "repair it, or rename it") from error
    header, cells = [], []
    for title, column in columns.items():
        lists = next((each for each in column if isinstance(each, list)), None)
        width = 1 if lists is None else len(lists)
        header += [title] if lists is None else [f"{title}.{index}" for index in range(width)]
        cells.append([_texts(value, width) for value in column])
    rows = [[text for texts in row for text in texts] for row in zip(*cells, strict=True)]
    return header, rows, [title for title in kinds if title not in columns]


def _holds_numbers(kind: Any) -> bool:
    """Return whether an Arrow type is a number, a truth value, or a list of these."""
    from pyarrow import types

    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        kind = kind.value_type
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _texts(value: Any, width: int) -> list[str]:
    """Return the cells of a value; empty for none."""
    if value is None:
        return [""] * width
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]
