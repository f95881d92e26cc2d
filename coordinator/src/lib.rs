//! The reference coordinator: dispatch, consensus, results to clients.
