//! Tests of repos.
