"""The model on a GPU: is it right, where do its nodes run, does it hold, and how fast is it?"""
