//! Memory and tables: what the job may use, enforced alike on every machine.

use crate::HostFault;
use crate::host::Stop;
use depx_host_abi::limit::LimitCode;
use depx_protocol::Limits;
use wasmtime::ResourceLimiter;

/// Bytes per page of linear memory.
const PAGE: usize = 64 << 10;

/// A 32-bit memory has at most this many pages.
const MAX_PAGES: u32 = 1 << 16;

/// All tables together have at most this many elements, whatever the job says: as many as a pooled table has room for.
const MAX_TABLE_ELEMENTS: u32 = 1 << 20;

/// Decides on memory and tables from the job's limits and the module's declarations alone. What it grants and the engine
/// then cannot give is this machine's failure.
pub(crate) struct Bounds {
    memory_pages: u32,
    table_elements: u64,
    /// Elements of all tables so far.
    tables: u64,
    /// The largest memory so far, in pages.
    pub(crate) peak_pages: u32,
    /// The limit that the module's declarations exceed, while it is being instantiated.
    pub(crate) denied: Option<LimitCode>,
}

impl Bounds {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_pages: limits.memory_pages.min(MAX_PAGES),
            table_elements: u64::from(limits.table_elements.min(MAX_TABLE_ELEMENTS)),
            tables: 0,
            peak_pages: 0,
            denied: None,
        }
    }
}

impl ResourceLimiter for Bounds {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let pages = desired.div_ceil(PAGE);
        if pages > self.memory_pages as usize {
            // The minimum of a declaration; inside a run growth fails as the specification says, and the guest goes on.
            if current == 0 {
                self.denied.get_or_insert(LimitCode::MemoryPages);
            }
            return Ok(false);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.peak_pages = self.peak_pages.max(pages as u32);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // Sizes that no 32-bit memory can have are refused before `memory_growing` is asked; everything that it granted must
        // succeed. `tests/it/limits.rs` grows by both kinds of size, so that another wording is noticed.
        if error.to_string().contains("exceeds memory type's limits") {
            return Ok(());
        }
        Err(Stop::from(HostFault::Resources { resource: "memory" }).into())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let tables = self.tables + (desired - current) as u64;
        if tables > self.table_elements {
            if current == 0 {
                self.denied.get_or_insert(LimitCode::TableElements);
            }
            return Ok(false);
        }
        self.tables = tables;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        Err(Stop::from(HostFault::Resources { resource: "memory for tables" }).into())
    }
}
