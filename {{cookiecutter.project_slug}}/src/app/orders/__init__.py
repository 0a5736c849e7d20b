"""The example domain: made to be read, changed and deleted. The template never touches it again."""
