"""The service: a verified bundle behind HTTP and a page, without torch, transformers or optimum."""
