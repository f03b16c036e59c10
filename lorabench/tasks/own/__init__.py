"""What `task=custom` makes of data of the user's own: shapes of rows, templates, chat templates."""
