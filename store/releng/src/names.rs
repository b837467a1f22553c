//! Names of releases and where their refs and views are.
