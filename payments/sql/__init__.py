"""The triggers that protect the books and the audit views, in SQL for PostgreSQL and SQLite. Migrations run them."""

from collections.abc import Callable
from pathlib import Path

from django.apps.registry import Apps
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def run(name: str) -> Callable[[Apps, BaseDatabaseSchemaEditor], None]:
    """A migration step that runs `<name>.<dialect>.sql` of this folder. Blank lines separate the statements."""

    def step(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        connection = schema_editor.connection
        script = (Path(__file__).parent / f"{name}.{connection.vendor}.sql").read_text()
        with connection.cursor() as cursor:
            for statement in script.split("\n\n"):
                if statement.strip():
                    cursor.execute(statement)

    return step
