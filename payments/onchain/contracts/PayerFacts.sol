// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

interface IToken {
    function balanceOf(address holder) external view returns (uint256);
    function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
}

/// @title What a token says of many payers, in one call
/// @notice Never deployed: a node runs this constructor in an `eth_call` without a recipient, and
/// what it returns is the answer.
contract PayerFacts {
    /// @param token an EIP-3009 token.
    /// @param payers whose balances to read.
    /// @param nonces of each payer, the authorization to look at.
    /// @dev Returns the time of the block, in Unix seconds, then one word for each payer. Bit 255: the
    /// authorization was used or cancelled. Bit 254: there is code at the payer's address. The rest: the
    /// balance, cut at 2^254 - 1.
    constructor(address token, address[] memory payers, bytes32[] memory nonces) {
        uint256[] memory words = new uint256[](payers.length + 1);
        words[0] = block.timestamp;
        for (uint256 i; i < payers.length; ++i) {
            uint256 word = IToken(token).balanceOf(payers[i]);
            if (word >= 1 << 254) word = (1 << 254) - 1;
            if (payers[i].code.length != 0) word |= 1 << 254;
            if (IToken(token).authorizationState(payers[i], nonces[i])) word |= 1 << 255;
            words[i + 1] = word;
        }
        assembly ("memory-safe") {
            return(add(words, 0x20), mul(mload(words), 0x20))
        }
    }
}
