//! Numbered codes.

use core::fmt;

/// A number that is no code of the kind that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownCode(pub u32);

impl fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a known code; it may come from a newer version", self.0)
    }
}

impl core::error::Error for UnknownCode {}

/// Defines an enum of numbered codes, each with a name for machines and a description for people.
macro_rules! codes {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident = $number:literal, $text:literal, $description:literal;)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u32)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`: ", $description, ".")] $(#[$inner])* $variant = $number,)*
        }

        impl $name {
            /// Every code, in ascending order of numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The number that goes into results.
            pub const fn number(self) -> u32 {
                self as u32
            }

            /// A short name, as used in JSON and logs.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// What happened, for people.
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => $description,)*
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.description())
            }
        }

        impl TryFrom<u32> for $name {
            type Error = $crate::UnknownCode;

            fn try_from(number: u32) -> Result<Self, Self::Error> {
                match number {
                    $($number => Ok(Self::$variant),)*
                    _ => Err($crate::UnknownCode(number)),
                }
            }
        }
    };
}
pub(crate) use codes;

#[cfg(test)]
mod tests {
    extern crate std;
    use crate::limit::LimitCode;
    use crate::refusal::RefusalCode;
    use crate::trap::TrapCode;
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    /// The numbers are part of hashed results. A line may be added here; none may ever change.
    const PINNED: &str = "\
trap 1 unreachable
trap 2 memory-out-of-bounds
trap 3 table-out-of-bounds
trap 4 indirect-call-to-null
trap 5 bad-signature
trap 6 integer-overflow
trap 7 integer-division-by-zero
trap 8 bad-conversion-to-integer
trap 9 stack-overflow
trap 10 misaligned
trap 11 allocation-too-large
limit 1 memory-pages
limit 2 table-elements
limit 3 output-bytes
limit 4 files
limit 5 file-bytes
refusal 1 malformed
refusal 2 unsupported-proposal
refusal 3 unknown-import
refusal 4 import-signature
refusal 5 missing-start
refusal 6 start-signature
refusal 7 missing-memory
refusal 8 reserved-export
refusal 9 module-too-large
refusal 10 too-many-types
refusal 11 too-many-imports
refusal 12 too-many-functions
refusal 13 too-many-tables
refusal 14 too-many-globals
refusal 15 too-many-exports
refusal 16 too-many-segments
refusal 17 function-too-large
refusal 18 too-many-locals
refusal 19 nesting-too-deep
refusal 20 operands-too-deep
refusal 21 branch-table-too-large
refusal 22 too-many-parameters
refusal 23 initializer-signature
refusal 24 snapshot-unsupported
refusal 25 initializer-trapped
refusal 26 initializer-out-of-fuel
refusal 27 initializer-exited
refusal 28 initializer-over-limits
";

    #[test]
    fn numbers_and_names_are_pinned() {
        let lines = (TrapCode::ALL.iter().map(|code| format!("trap {} {}\n", code.number(), code.name())))
            .chain(LimitCode::ALL.iter().map(|code| format!("limit {} {}\n", code.number(), code.name())))
            .chain(RefusalCode::ALL.iter().map(|code| format!("refusal {} {}\n", code.number(), code.name())));
        assert_eq!(lines.collect::<String>(), PINNED);
    }

    #[test]
    fn numbers_convert_back_and_others_are_unknown() {
        for number in 0..1000 {
            let known: Vec<u32> = [
                TrapCode::try_from(number).map(TrapCode::number),
                LimitCode::try_from(number).map(LimitCode::number),
                RefusalCode::try_from(number).map(RefusalCode::number),
            ]
            .into_iter()
            .flatten()
            .collect();
            let expected = [TrapCode::ALL.len(), LimitCode::ALL.len(), RefusalCode::ALL.len()]
                .into_iter()
                .filter(|&len| (1..=len as u32).contains(&number));
            assert_eq!(known, expected.map(|_| number).collect::<Vec<_>>());
        }
    }
}
