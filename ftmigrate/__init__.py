"""ftmigrate: read, lint, convert and verify LLM fine-tuning configs."""

__version__ = "0.1.0"
