//! The contract between a task and its node: import names, types, error codes, fuel schedule.
