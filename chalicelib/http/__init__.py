"""The HTTP framework on Chalice: how routes are declared, checked, answered and described. It knows no dialect."""
