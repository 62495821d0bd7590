"""The benchmark: this shop beside the official x402 middleware, in one run on one chain."""
