"""How exact the invariances are."""
