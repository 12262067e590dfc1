//! platform-tests
