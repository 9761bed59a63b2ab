"""What a new codec, format or backend is held against: conformance suites, strategies and fault injection."""
