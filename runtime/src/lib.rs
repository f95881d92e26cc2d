//! Executes one job deterministically: validate, prepare, execute, prove.
