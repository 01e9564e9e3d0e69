"""The playground: a page in which the model runs in the browser, served or written to be hosted."""
