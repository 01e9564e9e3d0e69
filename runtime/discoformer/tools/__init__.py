"""Tools for users of the package: a speed test and a check of the installation."""
