"""Bundles: the folders that the runtime loads, with a manifest that names and hashes every file."""
