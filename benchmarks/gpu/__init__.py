"""What a card does: fine-tuning, parity, the engine beside its peers, and the service, in parts that can be resumed."""
