//! Networks in one process, hostile peers, and whole programs.

mod hostile;
mod network;
mod paths;
