"""What a wheel must do where nothing else of ours is installed; `make wheels` runs each with the fresh environment's Python."""
