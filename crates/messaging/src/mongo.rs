//! The parts that live in MongoDB.
