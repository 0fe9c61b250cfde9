"""`status`: a model as registry, staging, production and pipelines know it now, and drift: where production is not what the ledger says."""
