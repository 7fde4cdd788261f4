"""What Python and the operating system give: nothing here knows SSH."""
