"""Real clients, as their documentation or the usual tutorial has them, to be audited by `scripts/audit-clients`."""
