"""The steps of an execution that touch the outside: one file for each."""
