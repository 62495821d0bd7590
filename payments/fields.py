"""Column types for what a chain speaks: fixed-length bytes and 256-bit numbers."""

from typing import Any

from django.core import validators
from django.db import models


class BytesField(models.BinaryField):
    """Bytes that come back as bytes on every database (PostgreSQL's driver hands out memoryviews)."""

    _pyi_private_set_type: bytes
    _pyi_private_get_type: bytes
    _pyi_lookup_exact_type: bytes

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> bytes | None:
        return None if value is None else bytes(value)


class Uint256Field(models.CharField):
    """A uint256 as its decimal digits: no database here has a whole number that wide in common."""

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
