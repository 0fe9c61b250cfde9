"""FetchWeights: from a Hugging Face repository at one commit to the bucket, streamed, every byte verified, the manifest last.

The parts, each with one duty: `selection` (pure: which files), `hub` (asks the Hub about a repository), `plan` (pure: parts and their
order), `source` (ranges of bytes out of the Hub), `destination` (objects into S3), `pipeline` (bounded buffers and workers between
the two), `journal` (which files are finished), `manifest` (what a finished prefix holds), `step` (all of it together).
"""
