"""Exactness of the invariances."""
