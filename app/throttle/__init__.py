"""What holds a run back, and by how much: pure rules, each in a module of its own (see app.throttling for who asks them)."""
