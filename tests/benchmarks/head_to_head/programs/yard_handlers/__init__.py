"""What Taskyard's workers load for the comparison: TASKYARD_HANDLERS names this package."""
