"""The recount: rows, objects and a run's ledger against each other; and the repair of a table from the journal. Nothing here is Celery."""
