"""Pre-trains the embedded base from nothing: corpus, tokenizer, tasks, weights that can copy, and the training loop."""
