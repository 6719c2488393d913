"""The other ends, for demo, tests, and users' own handler tests. Each is an aiohttp app; faults are fields."""
