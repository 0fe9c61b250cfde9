"""The Hugging Face Hub: what a repository holds, which of its files are fetched, and their bytes; what a model takes of
a GPU's memory (`memory`), by its own files. The token is read in `hub_repository` and never logged."""
