"""FetchWeights: from a Hugging Face repository at one commit to the bucket, streamed, every byte verified, the manifest last.

The parts, each with one duty, in the order in which a fetch needs them; those of `delivery` serve the command, too:

- what: `delivery.hub`: `selection` (pure: which files), `hub_repository` (asks the Hub), `architectures` (does SGLang know the model);
- how: `delivery.hub.fetch_settings` (every limit by name), `transfer_plan` (pure: parts, their order, each host's share), `journal` (which
  files are finished);
- the bytes: `transfer_pipeline` (bounded `buffers` and workers) from `delivery.hub.hub_source` (ranges out of the Hub; `xet` where asked for)
  through `file_transfer` (one file's digests) to `destination` (objects into S3, their parts by `part_sender`), over
  `delivery.hub.range_client` (HTTP into and out of buffers) with `delivery.hub.retries`;
- the end: `delivery.weights.manifest` (what a finished prefix holds), `expectations` (its suite), `models` (arguments and result);
- `step` (all of it together), `progress` (how far it is).
"""
