"""The use cases, one verb a file: values in, a frozen report out, nothing printed."""
