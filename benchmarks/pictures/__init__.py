"""The pictures of the documentation site, drawn from the model and from recorded results."""
