// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The least a contract wallet can be, for tests
/// @notice Says that a signature is its own when its owner's key made it (EIP-1271). It cannot
/// send anything by itself: what it owns moves only by what its owner signs.
contract EIP1271Wallet {
    bytes4 private constant MAGIC = 0x1626ba7e;
    uint256 private constant HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    address public immutable owner;

    constructor(address owner_) {
        require(owner_ != address(0), "no owner");
        owner = owner_;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        if (signature.length != 65) return 0xffffffff;
        bytes32 r = bytes32(signature[0:32]);
        bytes32 s = bytes32(signature[32:64]);
        if (uint256(s) > HALF_ORDER) return 0xffffffff;
        return ecrecover(digest, uint8(signature[64]), r, s) == owner ? MAGIC : bytes4(0xffffffff);
    }
}
