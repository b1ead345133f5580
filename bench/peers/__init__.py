"""tools/compare: xent beside the libraries that its users would pick instead. command.py is where it starts."""
