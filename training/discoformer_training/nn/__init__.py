"""The network: point features, attention, blocks and heads."""
