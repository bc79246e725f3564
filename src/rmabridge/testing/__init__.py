"""For plugin authors: contract tests, fixtures and simulators. Installed with rmabridge, loaded only by tests."""
