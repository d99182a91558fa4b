"""The handlers of this installation. Put a module here, declare with ``@task`` or ``@subscribe``, deploy."""
