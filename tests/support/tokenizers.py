"""Tokenizers that tests make themselves."""

from __future__ import annotations

from loadtest.generator.prompts import SyntheticPrompts, Tokenizer


def byte_pairs() -> Tokenizer:
    """A tokenizer of the kind that models have, trained on the few texts there are."""
    from tokenizers import Tokenizer as Trained
    from tokenizers import decoders, models, pre_tokenizers, trainers

    trained = Trained(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    texts = [message["content"] for _ in range(50) for message in SyntheticPrompts("7", shared_prefix=0.5).make(500).messages]
    trained.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=900, show_progress=False))
    return Tokenizer(trained.to_str())
