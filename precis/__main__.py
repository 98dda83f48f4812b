"""`python -m precis` is the command `precis`."""

from precis.cli import main

raise SystemExit(main())
