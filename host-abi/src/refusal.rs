//! Why a module cannot be executed.

crate::code::codes! {
    /// Why a module cannot be executed: the `code` of a result whose status is `InvalidModule`.
    RefusalCode {
        Malformed = 1, "malformed", "the bytes are not a valid WebAssembly module";
        UnsupportedProposal = 2, "unsupported-proposal", "the module uses a WebAssembly proposal that is off";
        UnknownImport = 3, "unknown-import", "the module imports what the sandbox does not offer";
        ImportSignature = 4, "import-signature", "the module imports a function with another type than it has";
        MissingStart = 5, "missing-start", "the module does not export the function `_start`";
        StartSignature = 6, "start-signature", "`_start` has parameters or results";
        MissingMemory = 7, "missing-memory", "the module does not export a memory named `memory`";
        ReservedExport = 8, "reserved-export", "the module exports a name that begins with `depx:`";
        ModuleTooLarge = 9, "module-too-large", "the module has too many bytes";
        TooManyTypes = 10, "too-many-types", "the module has too many types";
        TooManyImports = 11, "too-many-imports", "the module has too many imports";
        TooManyFunctions = 12, "too-many-functions", "the module has too many functions";
        TooManyTables = 13, "too-many-tables", "the module has too many tables";
        TooManyGlobals = 14, "too-many-globals", "the module has too many globals";
        TooManyExports = 15, "too-many-exports", "the module has too many exports";
        TooManySegments = 16, "too-many-segments", "the module has too many data or element segments";
        FunctionTooLarge = 17, "function-too-large", "a function of the module has too many bytes";
        TooManyLocals = 18, "too-many-locals", "a function of the module has too many locals";
        NestingTooDeep = 19, "nesting-too-deep", "blocks in a function of the module are nested too deeply";
        OperandsTooDeep = 20, "operands-too-deep", "a function of the module stacks up too many operands";
        BranchTableTooLarge = 21, "branch-table-too-large", "a branch table of the module has too many targets";
        TooManyParameters = 22, "too-many-parameters", "a type of the module has too many parameters or results";
        InitializerSignature = 23, "initializer-signature", "the module's initialisation function has parameters or results";
        SnapshotUnsupported = 24, "snapshot-unsupported", "the module is to be initialised, but its state could not be kept";
        InitializerTrapped = 25, "initializer-trapped", "the module's initialisation trapped";
        InitializerOutOfFuel = 26, "initializer-out-of-fuel", "the module's initialisation used all its fuel";
        InitializerExited = 27, "initializer-exited", "the module's initialisation ended the program instead of returning";
        InitializerOverLimits = 28, "initializer-over-limits", "the module's initialisation exceeded a limit, or wrote output";
    }
}
