"""Modules that can be traced: the network, and the frame and base of raw data."""
