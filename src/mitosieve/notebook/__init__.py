"""What the public classes do in a notebook: pictures, tables, a bar. They ask for it by name (`upstairs`)."""
