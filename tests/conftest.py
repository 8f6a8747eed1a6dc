"""``spcl`` comes first: it says how threads of compiled libraries wait before any of them is loaded."""

import spcl  # noqa: F401
