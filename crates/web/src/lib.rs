//! What every HTTP API of the shop shares: problems, extractors, principals, health.
