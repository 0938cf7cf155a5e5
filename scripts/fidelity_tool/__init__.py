"""Real recordings and what mockprovider says in their place, side by side: see `docs/fidelity.md`."""
