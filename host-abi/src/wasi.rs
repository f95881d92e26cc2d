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
    import!(1, "args_get", i i),
    import!(2, "args_sizes_get", i i),
    import!(3, "clock_res_get", i i),
    import!(4, "clock_time_get", i l i),
    import!(5, "environ_get", i i),
    import!(6, "environ_sizes_get", i i),
    import!(7, "fd_advise", i l l i),
    import!(8, "fd_allocate", i l l),
    import!(9, "fd_close", i),
    import!(10, "fd_datasync", i),
    import!(11, "fd_fdstat_get", i i),
    import!(12, "fd_fdstat_set_flags", i i),
    import!(13, "fd_fdstat_set_rights", i l l),
    import!(14, "fd_filestat_get", i i),
    import!(15, "fd_filestat_set_size", i l),
    import!(16, "fd_filestat_set_times", i l l i),
    import!(17, "fd_pread", i i i l i),
    import!(18, "fd_prestat_dir_name", i i i),
    import!(19, "fd_prestat_get", i i),
    import!(20, "fd_pwrite", i i i l i),
    import!(21, "fd_read", i i i i),
    import!(22, "fd_readdir", i i i l i),
    import!(23, "fd_renumber", i i),
    import!(24, "fd_seek", i l i i),
    import!(25, "fd_sync", i),
    import!(26, "fd_tell", i i),
    import!(27, "fd_write", i i i i),
    import!(28, "path_create_directory", i i i),
    import!(29, "path_filestat_get", i i i i i),
    import!(30, "path_filestat_set_times", i i i i l l i),
    import!(31, "path_link", i i i i i i i),
    import!(32, "path_open", i i i i i l l i i),
    import!(33, "path_readlink", i i i i i i),
    import!(34, "path_remove_directory", i i i),
    import!(35, "path_rename", i i i i i i),
    import!(36, "path_symlink", i i i i i),
    import!(37, "path_unlink_file", i i i),
    import!(38, "poll_oneoff", i i i i),
    import!(39, "proc_exit", i =>),
    import!(40, "proc_raise", i),
    import!(41, "random_get", i i),
    import!(42, "sched_yield",),
    import!(43, "sock_accept", i i i),
    import!(44, "sock_recv", i i i i i i),
    import!(45, "sock_send", i i i i i),
    import!(46, "sock_shutdown", i i),
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
