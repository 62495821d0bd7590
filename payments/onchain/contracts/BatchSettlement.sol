// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Many EIP-3009 payments in one transaction
/// @notice Carries out transfer authorizations that their payers signed, each on its own: one that
/// fails takes nothing down with it. It has no owner and no storage and never holds money: payer
/// and payee are in what the payer signed, so whoever calls this can neither change where the
/// money goes nor keep any of it. That is also why anyone may call it.
/// @dev No events. What moved is in the token's own logs, AuthorizationUsed and Transfer, and those
/// are the same whichever way an authorization was settled; a second account of it here would only
/// be something to disagree with. `false` for an item means that *this* call did not move it:
/// somebody else may have settled it before.
contract BatchSettlement {
    struct Authorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
        bytes signature;
    }

    /// @notice There is no contract at the token's address. A call to an account without code
    /// succeeds without doing anything, so every item would look settled.
    error TokenHasNoCode(address token);

    /// @notice The transaction's gas would not have allowed item `index` its `gasEach`.
    error NotEnoughGas(uint256 index);

    /// @dev transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)
    bytes4 private constant TRANSFER_WITH_AUTHORIZATION = 0xcf092995;

    /// @dev More than it costs to get from measuring the gas left to inside the call, the call's own
    /// price included (100: the token's address is warm by then).
    uint256 private constant CALL_OVERHEAD = 1_000;

    /// @param token the dollar the authorizations are for.
    /// @param gasEach the most gas one authorization may use. A payer that is a contract is asked
    /// for its signature and could burn whatever it is given: this is the bound on that.
    /// @param authorizations what the payers signed.
    /// @return settled for each authorization, in order, whether it was carried out by this call.
    function settle(address token, uint256 gasEach, Authorization[] calldata authorizations)
        external
        returns (bool[] memory settled)
    {
        // Once is enough: within one transaction, code does not go away.
        if (token.code.length == 0) revert TokenHasNoCode(token);

        settled = new bool[](authorizations.length);
        for (uint256 i; i < authorizations.length; ++i) {
            Authorization calldata authorization = authorizations[i];
            bytes calldata signature = authorization.signature;

            bool enough;
            bool success;
            assembly ("memory-safe") {
                // The call is laid out by hand in free memory, straight from calldata, and every
                // item overwrites the one before it. Copied raw, an address with dirt in its upper
                // bits is the token's to refuse, and so this item's failure alone; read with
                // Solidity's checks it would revert the whole batch.
                let data := mload(0x40)
                mstore(data, TRANSFER_WITH_AUTHORIZATION)
                calldatacopy(add(data, 0x04), authorization, 0xc0) // from .. nonce
                mstore(add(data, 0xc4), 0xe0) // where the signature begins
                mstore(add(data, 0xe4), signature.length)
                let padded := and(add(signature.length, 0x1f), not(0x1f))
                // The padding is zero, not what a longer signature left there.
                if padded { mstore(add(data, add(0xe4, padded)), 0) }
                calldatacopy(add(data, 0x104), signature.offset, signature.length)

                // The EVM gives a call at most 63/64 of the gas left, however much it was promised
                // (EIP-150). Without this check whoever sends the transaction with little gas
                // could make a good authorization fail, and it would look like the payer's fault.
                // It comes after the memory is laid out, so that a long signature is paid for
                // already, and nothing is added to gasEach, so that no value of it can overflow
                // its way past.
                let available := gas()
                available := sub(available, div(available, 64))
                enough := iszero(or(lt(available, CALL_OVERHEAD), lt(sub(available, CALL_OVERHEAD), gasEach)))

                // Nothing of what comes back is copied (output size 0): a huge answer would be
                // paid for here, outside gasEach. Success is enough to know: the function returns
                // nothing, and reverts when it did not pay.
                if enough { success := call(gasEach, token, 0, data, add(0x104, padded), 0, 0) }
            }
            if (!enough) revert NotEnoughGas(i);
            settled[i] = success;
        }
    }
}
