//! journal-embedded
