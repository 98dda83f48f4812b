"""Grounding: what of a document supports its summary, and what of the summary the document lacks."""
