"""The HTTP edge: how routes are declared, checked, answered and described, and the dialects built on that."""
