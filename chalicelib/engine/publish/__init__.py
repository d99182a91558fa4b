"""Publishing: from a new job to a message on its lane."""
