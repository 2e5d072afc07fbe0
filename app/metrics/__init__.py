"""What Prometheus is told: how the newest run stands, what its workers have done, and how broker and database are."""
