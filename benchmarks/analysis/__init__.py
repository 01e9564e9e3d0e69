"""How good the analyses built on them are."""
