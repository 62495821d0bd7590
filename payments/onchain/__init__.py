"""The chain: talking to the node, signing, settling, watching, and recording what became of an authorization."""
