"""Many documents: `precis bulk IN OUT --bundle BUNDLE` reads rows and writes them with their summaries."""
