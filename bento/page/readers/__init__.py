"""Reads uploaded files (txt, md, html, pdf, docx) to plain text.

A stranger's file can keep any reader busy for hours or fill the memory, so `sandbox.read_document` runs `formats` in a
child process (`__main__.py`) that the operating system limits.
"""
