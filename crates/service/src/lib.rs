//! What surrounds any service process: telemetry, clock, supervised tasks, secrets.
