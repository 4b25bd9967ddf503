//! The whole shop under test.
