"""Column types for values of an EVM chain: bytes and 256-bit integers."""

from typing import Any

from django.core import validators
from django.db import models


class BytesField(models.BinaryField):
    """A binary column that reads as `bytes` on every database (PostgreSQL's driver returns memoryviews)."""

    _pyi_private_set_type: bytes
    _pyi_private_get_type: bytes
    _pyi_lookup_exact_type: bytes

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> bytes | None:
        return None if value is None else bytes(value)


class Uint256Field(models.CharField):
    """A uint256, stored as decimal digits: PostgreSQL and SQLite share no integer type that wide."""

    _pyi_private_set_type: int
    _pyi_private_get_type: int  # type: ignore[assignment]
    _pyi_lookup_exact_type: int

    def __init__(self, **options: Any) -> None:
        options["max_length"] = 78
        super().__init__(**options)
        self.validators.append(validators.RegexValidator(r"^[0-9]{1,78}$"))

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> int | None:
        return None if value is None else int(value)

    def to_python(self, value: Any) -> int | None:
        return None if value is None else int(value)

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else str(int(value))
