"""`python -m mockprovider`: the same as the command `mockprovider`."""

from __future__ import annotations

import sys

from mockprovider.cli import main

sys.exit(main())
