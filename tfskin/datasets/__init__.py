"""Images on disk become records, records become splits, splits become shards."""
