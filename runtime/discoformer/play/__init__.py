"""The playground: a web page in which the model runs in the browser. It is served, or written to a folder."""
