"""The other ends, for the demo, for tests, and for users' own handler tests. Each is an aiohttp app; faults are fields."""
