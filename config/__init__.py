"""What a team writes: model files and environment files, their format and their loading. Of ours it imports only the format of load
profiles, `loadtest.profiles`: a model file embeds them.
"""
