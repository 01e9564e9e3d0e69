"""How accurate density and score are."""
