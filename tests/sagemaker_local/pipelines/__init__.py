"""Tests of pipelines and processing jobs."""
