"""What `dev.py` makes of what it is given, without starting anything."""

import base64
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dev import chain, code, command, environment
from dev.say import Stop
from tests.project.runs import finished

OWNER = "postgres://owner:secret@db.example:5433/shop"


def test_each_start_has_a_database_file_of_its_own(tmp_path: Path) -> None:
    assert environment.databases(None, tmp_path) == {"DATABASE_URL": f"sqlite:///{tmp_path}/pennypress.sqlite3"}


def test_an_owners_url_gives_the_application_a_role_of_its_own_and_always_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DATABASE_OWNER_URL", raising=False)
    urls = environment.databases(OWNER, Path("unused"))
    application = urlsplit(urls["DATABASE_URL"])
    assert urls["DATABASE_OWNER_URL"] == OWNER
    assert (application.username, application.hostname, application.port) == ("shop_app", "db.example", 5433)
    assert application.path == "/shop"
    assert application.password not in (None, "", "secret")
    assert environment.databases(OWNER, Path("unused")) == urls


def test_with_an_owner_in_the_environment_the_url_is_the_applications(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_OWNER_URL", OWNER)
    application = "postgres://app:other@db.example/shop"
    urls = environment.databases(application, Path("unused"))
    assert urls == {"DATABASE_URL": application, "DATABASE_OWNER_URL": OWNER}


@pytest.mark.parametrize("url", ["mysql://x/y", "postgres://host", "shop.sqlite3"])
def test_a_database_that_cannot_be_used_is_a_sentence(url: str) -> None:
    with pytest.raises(Stop, match="--database-url is"):
        environment.databases(url, Path("unused"))


def test_the_callers_shell_cannot_point_the_demo_at_another_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://production")
    monkeypatch.setenv("SETTLER_KEY", "0xproduction")
    monkeypatch.setenv("QUOTE_SECONDS", "5")
    wallet = chain.Wallet("0xaddress", "0xkey")
    accounts = chain.Accounts(wallet, wallet, wallet, wallet, [wallet])
    product = environment.product(1234, "http://127.0.0.1:1", accounts, Path("unused"))
    children = environment.for_children(product)
    assert product["QUOTE_SECONDS"] == children["QUOTE_SECONDS"] == "5"
    assert product["SETTLER_KEY"] == children["SETTLER_KEY"] == "0xkey"
    assert "DATABASE_URL" not in children
    assert product["BASE_URL"] == "http://localhost:1234", "a name, because passkeys do not work at an IP address"


@pytest.mark.parametrize(("moment", "digits"), [(59, "287082"), (1111111109, "081804"), (20000000000, "353130")])
def test_a_code_is_that_of_the_standard(moment: int, digits: str) -> None:
    """The last six digits of the examples of RFC 6238."""
    assert code.at(base64.b32encode(b"12345678901234567890").decode(), moment) == digits


@pytest.mark.parametrize("words", [[], ["JBSWY3DPEHPK3PXP", "x"], ["not a key"], ["A"]])
def test_what_is_no_key_is_a_sentence(words: list[str]) -> None:
    with pytest.raises(Stop, match="Usage: dev.py code KEY"):
        code.run(words)


def test_a_port_that_is_taken_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Stop, match="cannot be used"):
        chain.check_port(taken.getsockname()[1])


def test_the_chains_keys_are_read_when_they_are_written(tmp_path: Path) -> None:
    """The file is there before its content is: an empty or half one is not read yet."""
    config = tmp_path / "chain.json"
    for content, whole in ((None, False), ("", False), ('{"available_accounts": ["0x', False), ("{}", True)):
        if content is not None:
            config.write_text(content)
        assert chain._is_whole(config) is whole, content


def test_a_word_nobody_knows_shows_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["serve"]) == 2
    assert "dev.py demo" in capsys.readouterr().err


def test_manage_passes_words_and_exit_code_through() -> None:
    assert finished("manage", "--version").stdout.strip().startswith("5.")
    assert finished("manage", "nonsense", variables={"SECRET_KEY": "x"}).returncode != 0
