//! The shop command: up, down, status, logs, token, load, audit.
