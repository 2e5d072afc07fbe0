"""What a run would do, found out beforehand: rows matched with the bucket in bounded memory, nothing changed in either."""
