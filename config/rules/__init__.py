"""What a file says that is well formed and cannot work, or works and is worth a thought.

The models of `config` say what a file *is*, and read those of releases long ago as well. The rules here say what makes sense in a file that a
person writes now: only `config.loader` asks them, so that a new rule never stands between a person and a rollback to an old version.
"""
