"""FetchWeights: from a Hugging Face repository at one commit to the bucket, streamed, every byte verified, the manifest last.

The parts, each with one duty, in the order in which a fetch needs them:

- what: `selection` (pure: which files), `hub` (asks the Hub about a repository), `architectures` (does SGLang know the model);
- how: `settings` (every limit by name), `plan` (pure: parts, their order, each host's share), `journal` (which files are finished);
- the bytes: `pipeline` (bounded `buffers` and workers) from `source` (ranges out of the Hub; `xet` where asked for) through `transfer` (one
  file's digests) to `destination` (objects into S3, their parts by `sender`), over `wire` (HTTP into and out of buffers) with `retries`;
- the end: `delivery.weights.manifest` (what a finished prefix holds), `expectations` (its suite), `models` (what the step gives out);
- `step` (all of it together), `progress` (how far it is).
"""
