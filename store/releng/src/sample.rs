//! A small release to try cairn on: composes with real packages and real repodata.
