"""The sections of the report; a module here with a `Section` in it is a section of the report."""
