"""Commands that run without click, for programs that call them often."""
