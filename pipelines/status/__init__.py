"""`status`: a model as registry, staging, production and pipelines know it now."""
