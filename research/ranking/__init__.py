"""Teaches the embedded base to choose a sentence: gathers the pairs; `python -m finetune` trains on them."""
