"""Fine-tuning: a recipe and (document, summary) pairs in, adapter, merged model and ROUGE out."""
