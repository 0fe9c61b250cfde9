"""The Hugging Face Hub: what a repository holds, which of its files are fetched, and their bytes."""
