"""Places for requests that wait."""

from contextlib import ExitStack

import pytest

from payments.places import Full, Places, first_address, source_of


def test_one_source_never_takes_more_places_than_it_leaves_to_others():
    places = Places()
    with ExitStack() as held:
        for _ in range(24):
            held.enter_context(places.one("a", 48))
        with pytest.raises(Full):
            held.enter_context(places.one("a", 48))
        held.enter_context(places.one("b", 48))
        assert places.count() == 25
    assert places.count() == 0
    assert not places._held


def test_a_source_may_always_have_a_few_and_nobody_more_than_there_are():
    places = Places()
    with places.one("a", 5), places.one("a", 5), places.one("a", 5), places.one("a", 5):
        with pytest.raises(Full):
            places.one("a", 5).__enter__()
        with places.one("b", 5), pytest.raises(Full):
            places.one("c", 5).__enter__()


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("unix:", ""),
    ],
)
def test_a_client_is_an_address_or_a_network_of_version_six(address: str, source: str):
    assert source_of(address) == source
    assert first_address(address) == source.removesuffix("/64")
