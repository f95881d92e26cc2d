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
}

/// `import!("fd_read", i i i i)`: a function of four 32-bit parameters that returns an error code.
macro_rules! import {
    (@type i) => { $crate::ValueType::I32 };
    (@type l) => { $crate::ValueType::I64 };
    ($name:literal, $($param:ident)* => $($result:ident)*) => {
        $crate::Import {
            name: $name,
            params: &[$($crate::import::import!(@type $param)),*],
            results: &[$($crate::import::import!(@type $result)),*],
        }
    };
    ($name:literal, $($param:ident)*) => { $crate::import::import!($name, $($param)* => i) };
}
pub(crate) use import;
