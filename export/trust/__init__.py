"""Trust: on the validation pairs, a tested threshold for how far the bundle's written summaries can be trusted."""
