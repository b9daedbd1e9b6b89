"""`python -m runpermit.cli`."""

from runpermit.cli import main

main()
