//! The agent on an operator's machine.
