// What a wallet is asked for: the right network, a payment to sign, a proof to sign. Loaded when the reader presses.

const NETWORKS = { 8453: "https://mainnet.base.org", 84532: "https://sepolia.base.org" };

/** The wallet is on this network afterwards ("eip155:8453"), or this throws what the wallet threw. */
export async function useChain(request, network, name, rpc) {
  const id = Number(network.split(":")[1]);
  const chainId = "0x" + id.toString(16);
  const isThere = async () => Number(await request("eth_chainId")) === id;
  const change = () => request("wallet_switchEthereumChain", { chainId });
  if (await isThere()) return;
  try {
    await change();
  } catch (error) {
    if ((error?.data?.originalError?.code ?? error?.code) !== 4902) throw error;
    const nativeCurrency = { name: "Ether", symbol: "ETH", decimals: 18 };
    const rpcUrls = [rpc || NETWORKS[id]];
    await request("wallet_addEthereumChain", { chainId, chainName: name, rpcUrls, nativeCurrency });
    // Some wallets change to a network that they add, others only know it now.
    if (!(await isThere())) await change();
  }
  if (!(await isThere())) throw new Error("the wallet is on another network");
}

/** EIP-3009, the token's own message: it moves this amount to this address once, and nothing else. */
export function typedData(price, message) {
  const fields = (text) => text.split(",").map((one) => ({ type: one.split(" ")[0], name: one.split(" ")[1] }));
  const { name, version } = price.extra;
  const chainId = Number(price.network.split(":")[1]);
  return {
    types: {
      EIP712Domain: fields("string name,string version,uint256 chainId,address verifyingContract"),
      TransferWithAuthorization: fields(
        "address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce",
      ),
    },
    primaryType: "TransferWithAuthorization",
    domain: { name, version, chainId, verifyingContract: price.asset },
    message,
  };
}

/** EIP-4361, byte for byte what the server expects: the server's challenge with the address (EIP-55) and the chain filled in. */
export function signInMessage(claim) {
  const optional = [
    ["Expiration Time: ", claim.expirationTime],
    ["Not Before: ", claim.notBefore],
    ["Request ID: ", claim.requestId],
    ["Resources:", claim.resources?.map((one) => `\n- ${one}`).join("")],
  ];
  return [
    `${claim.domain} wants you to sign in with your Ethereum account:`,
    claim.address,
    "",
    claim.statement ?? "",
    "",
    `URI: ${claim.uri}`,
    `Version: ${claim.version}`,
    `Chain ID: ${claim.chainId.split(":")[1]}`,
    `Nonce: ${claim.nonce}`,
    `Issued At: ${claim.issuedAt}`,
    ...optional.filter(([, value]) => value !== undefined).map((line) => line.join("")),
  ].join("\n");
}

/** EIP-55: wallets give an address in lower case, the message wants it with its checksum in the capitals. */
export function checksum(address) {
  const plain = address.slice(2).toLowerCase();
  const hash = keccak256(new TextEncoder().encode(plain));
  const capital = (at) => (hash[at >> 1] >> (at % 2 ? 0 : 4)) & 8;
  return "0x" + Array.from(plain, (digit, at) => (capital(at) ? digit.toUpperCase() : digit)).join("");
}

// Keccak-256 of at most 135 bytes: one block, so no sponge loop.
function keccak256(data) {
  const mask = (1n << 64n) - 1n;
  const rotate = (lane, by) => ((lane << by) | (lane >> (64n - by))) & mask;
  let state = Array(25).fill(0n);
  data.forEach((byte, at) => (state[at >> 3] ^= BigInt(byte) << BigInt(8 * (at % 8))));
  state[data.length >> 3] ^= 1n << BigInt(8 * (data.length % 8));
  state[16] ^= 1n << 63n;
  let register = 1;
  for (let round = 0; round < 24; round++) {
    const column = [0, 1, 2, 3, 4].map((x) => state[x] ^ state[x + 5] ^ state[x + 10] ^ state[x + 15] ^ state[x + 20]);
    state = state.map((lane, at) => lane ^ column[(at + 4) % 5] ^ rotate(column[(at + 1) % 5], 1n));
    let [x, y, carried] = [1, 0, state[1]];
    for (let step = 0; step < 24; step++) {
      [x, y] = [y, (2 * x + 3 * y) % 5];
      const at = x + 5 * y;
      [carried, state[at]] = [state[at], rotate(carried, BigInt((((step + 1) * (step + 2)) / 2) % 64))];
    }
    state = state.map((lane, at) => {
      const row = at - (at % 5);
      return lane ^ (~state[row + ((at + 1) % 5)] & mask & state[row + ((at + 2) % 5)]);
    });
    for (let bit = 0; bit < 7; bit++) {
      if (register & 1) state[0] ^= 1n << BigInt(2 ** bit - 1);
      register = (register << 1) ^ (register >> 7 ? 0x171 : 0);
    }
  }
  return Uint8Array.from({ length: 32 }, (_, at) => Number((state[at >> 3] >> BigInt(8 * (at % 8))) & 255n));
}
