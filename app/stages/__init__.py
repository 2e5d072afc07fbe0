"""The protocol, one module a stage; no Celery in it."""
