"""Celery workers: a profile a stage, their life cycle, and ``python -m workers``, which runs them all."""
