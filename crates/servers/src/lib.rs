//! The real servers as child processes: fetched once, started, stopped.
