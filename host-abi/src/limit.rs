//! Which limit a guest exceeded.

crate::code::codes! {
    /// Which limit a guest exceeded: the `code` of a result whose status is `LimitExceeded`.
    ///
    /// Growing memory or tables beyond the limit inside a run is no such end: growth fails and the guest goes on.
    LimitCode {
        MemoryPages = 1, "memory-pages", "the module declares more memory than the job allows";
        TableElements = 2, "table-elements", "the module declares larger tables than the job allows";
        OutputBytes = 3, "output-bytes", "the guest wrote more output than the job allows";
        Files = 4, "files", "the guest created more files and directories than the job allows";
        FileBytes = 5, "file-bytes", "the guest stored more in files than the job allows";
    }
}
