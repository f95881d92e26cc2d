//! What kind of machine this is.

use crate::{Disk, Machine};
use std::fmt;

/// The kinds of machine that networks of this sort were measured on (DePX testnet, §3.1 of the paper), by cores, memory and disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tier {
    /// Consumer: 8 cores, 16 to 32 GB of memory, 0.5 to 1 TB of disk, or less.
    A,
    /// Prosumer: from 16 cores, 32 GB of memory and 1 TB of disk.
    B,
    /// Enterprise: from 32 cores, 64 GB of memory and 4 TB of disk.
    C,
}

impl Tier {
    /// The highest tier of which a machine has all that it takes.
    pub fn of(machine: &Machine, disk: &Disk) -> Self {
        // Firmware, the kernel and file systems keep some of what is sold as so much: a tenth at the most.
        let memory = |gigabytes: u64| machine.memory >= (gigabytes * 1_000_000_000) / 10 * 9;
        let space = |terabytes: u64| disk.total >= (terabytes * 1_000_000_000_000) / 10 * 9;
        match machine.cores {
            32.. if memory(64) && space(4) => Self::C,
            16.. if memory(32) && space(1) => Self::B,
            _ => Self::A,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_takes_cores_memory_and_disk() {
        let tier = |cores, gibibytes: u64, gigabytes: u64| {
            let machine = Machine {
                processor: String::new(),
                cores,
                threads: cores,
                features: Vec::new(),
                memory: gibibytes << 30,
                memory_available: 0,
            };
            Tier::of(&machine, &Disk { total: gigabytes * 1_000_000_000, available: 0 })
        };
        assert_eq!(tier(2, 4, 100), Tier::A);
        assert_eq!(tier(8, 32, 1000), Tier::A);
        // A machine of 32 GB, of which the kernel leaves 31 GiB, and a disk of 1 TB, of which the file system leaves 950 GB.
        assert_eq!(tier(16, 31, 950), Tier::B);
        assert_eq!(tier(16, 31, 500), Tier::A);
        assert_eq!(tier(64, 15, 8000), Tier::A);
        assert_eq!(tier(64, 256, 2000), Tier::B);
        assert_eq!(tier(32, 62, 4000), Tier::C);
    }
}
