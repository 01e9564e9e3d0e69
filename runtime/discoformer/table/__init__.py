"""What a table is, before its density is estimated: rows far out, duplicates, codes, rounding, atoms."""
