"""The Celery tasks, one module each, named like their stage. Importing this package registers all of them."""

from tasks.copy_objects import copy_objects
from tasks.delete_objects import delete_objects
from tasks.own_stage import own_stage
from tasks.reconcile_moves import reconcile_moves
from tasks.rename_keys import rename_keys
from tasks.seed_moves import seed_moves

__all__ = ["copy_objects", "delete_objects", "own_stage", "reconcile_moves", "rename_keys", "seed_moves"]
