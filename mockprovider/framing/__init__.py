"""Level 2: how payloads are set apart in a body: server-sent events, or one whole document."""
