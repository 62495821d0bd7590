"""The digest that a payer signs is the one of the official SDK, whatever the numbers."""

from hypothesis import given
from hypothesis import strategies as st
from x402.mechanisms.evm.eip712 import hash_eip3009_authorization
from x402.mechanisms.evm.types import ExactEIP3009Authorization

from payments.onchain import eip3009

UINT256 = st.integers(0, 2**256 - 1)
ADDRESS = st.binary(min_size=20, max_size=20)


@given(ADDRESS, ADDRESS, st.tuples(UINT256, UINT256, UINT256), st.binary(min_size=32, max_size=32))
def test_it_is_the_sdks_digest(payer, recipient, numbers, nonce):
    from django.conf import settings

    value, valid_after, valid_before = numbers
    written = ExactEIP3009Authorization(
        f"0x{payer.hex()}", f"0x{recipient.hex()}", str(value), str(valid_after), str(valid_before), f"0x{nonce.hex()}"
    )
    token = (settings.CHAIN_ID, settings.CHAIN_ASSET, settings.CHAIN_ASSET_NAME, settings.CHAIN_ASSET_VERSION)
    ours = eip3009.digest(
        payer, recipient, value=value, valid_after=valid_after, valid_before=valid_before, nonce=nonce
    )
    assert ours == hash_eip3009_authorization(written, *token)
