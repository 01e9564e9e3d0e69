"""HTTP service that speaks the Open Inference Protocol (KServe V2).

What is served (``served``) knows nothing of HTTP. Requests and answers are bytes (``messages``, ``tensors``).
The modules that need the extra ``serve`` are ``app``, ``connections``, ``metrics`` and ``command``.
"""
