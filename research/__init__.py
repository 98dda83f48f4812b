"""What makes the embedded base, and the studies; not needed to use Precis."""
