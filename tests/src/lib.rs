//! The platform in one process; everything is in the test targets.
