"""Many documents: `python -m engine.bulk IN OUT --bundle BUNDLE` reads rows and writes them with their summaries."""
