"""`python -m ich_keras`, where the command is not on the path."""

from ich_keras.cli.main import main

main()
