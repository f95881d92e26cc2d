//! WASI preview 1: all 46 functions, by name and type.

use crate::Import;
use crate::import::import;

/// The module from which guests import.
pub const MODULE: &str = "wasi_snapshot_preview1";

/// The version of what the functions do where the standard leaves it open: inode numbers, the order of directories, how clocks
/// advance. It is part of the execution profile.
pub const BEHAVIOUR_VERSION: u32 = 2;

/// Its functions, sorted by name.
pub const IMPORTS: &[Import] = &[
    import!("args_get", i i),
    import!("args_sizes_get", i i),
    import!("clock_res_get", i i),
    import!("clock_time_get", i l i),
    import!("environ_get", i i),
    import!("environ_sizes_get", i i),
    import!("fd_advise", i l l i),
    import!("fd_allocate", i l l),
    import!("fd_close", i),
    import!("fd_datasync", i),
    import!("fd_fdstat_get", i i),
    import!("fd_fdstat_set_flags", i i),
    import!("fd_fdstat_set_rights", i l l),
    import!("fd_filestat_get", i i),
    import!("fd_filestat_set_size", i l),
    import!("fd_filestat_set_times", i l l i),
    import!("fd_pread", i i i l i),
    import!("fd_prestat_dir_name", i i i),
    import!("fd_prestat_get", i i),
    import!("fd_pwrite", i i i l i),
    import!("fd_read", i i i i),
    import!("fd_readdir", i i i l i),
    import!("fd_renumber", i i),
    import!("fd_seek", i l i i),
    import!("fd_sync", i),
    import!("fd_tell", i i),
    import!("fd_write", i i i i),
    import!("path_create_directory", i i i),
    import!("path_filestat_get", i i i i i),
    import!("path_filestat_set_times", i i i i l l i),
    import!("path_link", i i i i i i i),
    import!("path_open", i i i i i l l i i),
    import!("path_readlink", i i i i i i),
    import!("path_remove_directory", i i i),
    import!("path_rename", i i i i i i),
    import!("path_symlink", i i i i i),
    import!("path_unlink_file", i i i),
    import!("poll_oneoff", i i i i),
    import!("proc_exit", i =>),
    import!("proc_raise", i),
    import!("random_get", i i),
    import!("sched_yield",),
    import!("sock_accept", i i i),
    import!("sock_recv", i i i i i i),
    import!("sock_send", i i i i i),
    import!("sock_shutdown", i i),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_46_functions_are_listed_once_in_order() {
        assert_eq!(IMPORTS.len(), 46);
        assert!(IMPORTS.is_sorted_by(|a, b| a.name < b.name));
        assert!(IMPORTS.iter().all(|import| Import::find(MODULE, import.name) == Some(import)));
        assert_eq!(Import::find("wasi_unstable", "fd_read"), None);
        assert_eq!(Import::find(MODULE, "load_by_name"), None);
    }
}
