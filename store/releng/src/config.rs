//! The configuration file: what releases exist, where they live, how they are published.
