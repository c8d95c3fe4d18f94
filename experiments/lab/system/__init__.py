"""What the operating system, the terminal, files and other processes ask of a program."""
