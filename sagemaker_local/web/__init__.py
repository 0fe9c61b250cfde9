"""HTTP as the server sees it: an ASGI request as a value, and moto's WSGI application run in threads."""
