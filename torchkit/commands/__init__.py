"""One file per subcommand, of the same name; `run` returns a report. No printing, no typer."""
