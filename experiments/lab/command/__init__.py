"""What the commands share: options, checks, and what they write at the end."""
