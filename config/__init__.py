"""What a team writes: model files and environment files, their format and their loading. Imports nothing of ours."""
