"""The example domain on Django's ORM: made to be read, changed and deleted. The template never touches it again."""
