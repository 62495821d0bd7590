// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title A contract wallet that means harm, for tests
/// @notice Says yes to every signature until it is armed, so that a check beforehand passes; from
/// then on it burns all gas it is given.
contract HostileWallet {
    bool public armed;

    function arm() external {
        armed = true;
    }

    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        if (armed) while (true) {}
        return 0x1626ba7e;
    }
}
