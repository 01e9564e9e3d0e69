"""Input and output: array-likes, tables, files, and column names."""
