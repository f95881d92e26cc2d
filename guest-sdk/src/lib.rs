//! What a task developer links to write a DePX task.
