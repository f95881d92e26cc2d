//! Names of exports, the guest's own and those that preparation adds.

/// The function that is the program: no parameters, no results.
pub const START: &str = "_start";

/// The guest's memory.
pub const MEMORY: &str = "memory";

/// A module that exports a name with this prefix is refused.
pub const RESERVED_PREFIX: &str = "depx:";

/// Mutable `i64` global: fuel that is left. The host sets it before it calls into the guest. Once it is negative, the run
/// is out of fuel, however the call ended.
pub const FUEL: &str = "depx:fuel";

/// Mutable `i64` global: [slots](crate::stack) of call depth that are left to a function that is called. Callers set it, the host to
/// [`crate::stack::DEPTH_LIMIT`]. If it is negative after a trap and fuel is not, the guest's stack overflowed.
pub const DEPTH: &str = "depx:depth";

/// Function without parameters and results: the module's start function, where it has one. Instantiation runs no guest code;
/// the host calls this before [`START`].
pub const INITIALIZE: &str = "depx:start";

/// The memory again, where the module's state is a [snapshot](crate::snapshot): this prefix, the snapshot's hash in hexadecimal, a
/// colon, and the fuel that its initialisation used. A compiled module so says itself what it starts from.
pub const SNAPSHOT: &str = "depx:snapshot:";
