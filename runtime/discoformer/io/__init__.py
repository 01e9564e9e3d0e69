"""What goes in and comes out: array-likes, tables, files, names of columns."""
