//! The shape of functions that guests import.

/// The type of a parameter or result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueType {
    /// 32-bit integer, or an address.
    I32,
    /// 64-bit integer.
    I64,
}

/// A function that guests may import.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Import {
    /// What it is called in the log of host calls: different for every import of every module, and never changed.
    pub number: u16,
    /// Its name within its module.
    pub name: &'static str,
    /// Its parameters.
    pub params: &'static [ValueType],
    /// Its results; an error code where there is one.
    pub results: &'static [ValueType],
}

impl Import {
    /// The function `name` of `module`, where there is one.
    pub fn find(module: &str, name: &str) -> Option<&'static Self> {
        let imports: &'static [Self] = match module {
            crate::wasi::MODULE => crate::wasi::IMPORTS,
            crate::nn::MODULE => crate::nn::IMPORTS,
            _ => return None,
        };
        imports.iter().find(|import| import.name == name)
    }

    /// The module and the function that have a number, where there are any.
    pub fn numbered(number: u16) -> Option<(&'static str, &'static Self)> {
        let all = [(crate::wasi::MODULE, crate::wasi::IMPORTS), (crate::nn::MODULE, crate::nn::IMPORTS)];
        let mut named =
            all.into_iter().flat_map(|(module, imports)| imports.iter().map(move |import| (module, import)));
        named.find(|(_, import)| import.number == number)
    }
}

/// `import!(21, "fd_read", i i i i)`: function 21, of four 32-bit parameters, that returns an error code.
macro_rules! import {
    (@type i) => { $crate::ValueType::I32 };
    (@type l) => { $crate::ValueType::I64 };
    ($number:literal, $name:literal, $($param:ident)* => $($result:ident)*) => {
        $crate::Import {
            number: $number,
            name: $name,
            params: &[$($crate::import::import!(@type $param)),*],
            results: &[$($crate::import::import!(@type $result)),*],
        }
    };
    ($number:literal, $name:literal, $($param:ident)*) => { $crate::import::import!($number, $name, $($param)* => i) };
}
pub(crate) use import;

#[cfg(test)]
mod tests {
    extern crate std;
    use super::Import;
    use std::collections::BTreeSet;
    use std::format;
    use std::string::String;

    /// The numbers are part of hashed results. A line may be added here; none may ever change.
    const PINNED: &str = "\
1 wasi_snapshot_preview1 args_get
2 wasi_snapshot_preview1 args_sizes_get
3 wasi_snapshot_preview1 clock_res_get
4 wasi_snapshot_preview1 clock_time_get
5 wasi_snapshot_preview1 environ_get
6 wasi_snapshot_preview1 environ_sizes_get
7 wasi_snapshot_preview1 fd_advise
8 wasi_snapshot_preview1 fd_allocate
9 wasi_snapshot_preview1 fd_close
10 wasi_snapshot_preview1 fd_datasync
11 wasi_snapshot_preview1 fd_fdstat_get
12 wasi_snapshot_preview1 fd_fdstat_set_flags
13 wasi_snapshot_preview1 fd_fdstat_set_rights
14 wasi_snapshot_preview1 fd_filestat_get
15 wasi_snapshot_preview1 fd_filestat_set_size
16 wasi_snapshot_preview1 fd_filestat_set_times
17 wasi_snapshot_preview1 fd_pread
18 wasi_snapshot_preview1 fd_prestat_dir_name
19 wasi_snapshot_preview1 fd_prestat_get
20 wasi_snapshot_preview1 fd_pwrite
21 wasi_snapshot_preview1 fd_read
22 wasi_snapshot_preview1 fd_readdir
23 wasi_snapshot_preview1 fd_renumber
24 wasi_snapshot_preview1 fd_seek
25 wasi_snapshot_preview1 fd_sync
26 wasi_snapshot_preview1 fd_tell
27 wasi_snapshot_preview1 fd_write
28 wasi_snapshot_preview1 path_create_directory
29 wasi_snapshot_preview1 path_filestat_get
30 wasi_snapshot_preview1 path_filestat_set_times
31 wasi_snapshot_preview1 path_link
32 wasi_snapshot_preview1 path_open
33 wasi_snapshot_preview1 path_readlink
34 wasi_snapshot_preview1 path_remove_directory
35 wasi_snapshot_preview1 path_rename
36 wasi_snapshot_preview1 path_symlink
37 wasi_snapshot_preview1 path_unlink_file
38 wasi_snapshot_preview1 poll_oneoff
39 wasi_snapshot_preview1 proc_exit
40 wasi_snapshot_preview1 proc_raise
41 wasi_snapshot_preview1 random_get
42 wasi_snapshot_preview1 sched_yield
43 wasi_snapshot_preview1 sock_accept
44 wasi_snapshot_preview1 sock_recv
45 wasi_snapshot_preview1 sock_send
46 wasi_snapshot_preview1 sock_shutdown
64 wasi_ephemeral_nn compute
65 wasi_ephemeral_nn get_output
66 wasi_ephemeral_nn init_execution_context
67 wasi_ephemeral_nn load
68 wasi_ephemeral_nn load_by_name
69 wasi_ephemeral_nn set_input
";

    #[test]
    fn numbers_are_pinned_and_lead_back() {
        let all = [(crate::wasi::MODULE, crate::wasi::IMPORTS), (crate::nn::MODULE, crate::nn::IMPORTS)];
        let lines = all.iter().flat_map(|(module, imports)| {
            imports.iter().map(move |import| format!("{} {module} {}\n", import.number, import.name))
        });
        assert_eq!(lines.collect::<String>(), PINNED);
        let numbers: BTreeSet<u16> = all.iter().flat_map(|(_, imports)| imports.iter().map(|i| i.number)).collect();
        assert_eq!(numbers.len(), PINNED.lines().count(), "every number is taken once");
        for number in 0..=u16::MAX {
            let found = Import::numbered(number);
            assert_eq!(found.is_some(), numbers.contains(&number));
            assert!(found.is_none_or(|(module, import)| Import::find(module, import.name) == Some(import)));
        }
    }
}
