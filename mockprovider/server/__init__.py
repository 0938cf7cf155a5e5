"""The server: its requests (`handler`), its control API (`control`), its lifetime (`runner`). Imports aiohttp."""
