"""Requests to an endpoint: who may make them, which instance answers, what is captured."""
