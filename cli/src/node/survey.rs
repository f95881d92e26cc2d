//! What a machine has to offer.

use crate::show;
use anyhow::Result;
use depx_devices::{DeviceProbe, Disk, Gpu, Machine, ThisMachine, Tier};
use serde_json::json;
use std::path::Path;

/// What this machine has.
pub(super) struct Survey {
    machine: Machine,
    disk: Disk,
    gpus: Result<Vec<Gpu>, String>,
    tier: Tier,
}

impl Survey {
    pub(super) fn of(data: &Path) -> Result<Self> {
        let (machine, disk) = (ThisMachine.machine()?, ThisMachine.disk(data)?);
        let gpus = ThisMachine.gpus().map_err(|error| format!("{:#}", anyhow::Error::from(error)));
        let tier = Tier::of(&machine, &disk);
        Ok(Self { machine, disk, gpus, tier })
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let Self { machine, disk, gpus, tier } = self;
        let names: Vec<_> = gpus
            .iter()
            .flatten()
            .map(|gpu| json!({"name": gpu.name, "uuid": gpu.uuid, "driver": gpu.driver, "memory": gpu.memory}))
            .collect();
        json!({"processor": machine.processor, "cores": machine.cores, "threads": machine.threads, "features": machine.features,
            "memory": machine.memory, "memory_available": machine.memory_available, "disk": disk.total,
            "disk_available": disk.available, "gpus": names, "gpu_error": gpus.as_ref().err(), "tier": tier.to_string()})
    }

    pub(super) fn text(&self) -> String {
        let Self { machine, disk, gpus, tier } = self;
        let gibibytes = |bytes: u64| show::grouped(bytes >> 30);
        let name = if machine.processor.is_empty() { "of an unknown name" } else { &machine.processor };
        let gpus = match gpus {
            Err(reason) => format!("cannot be used: {reason}"),
            Ok(gpus) if gpus.is_empty() => "none of NVIDIA's with a driver".to_owned(),
            Ok(gpus) => gpus.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n           "),
        };
        let meaning = match tier {
            Tier::A => "A, consumer; B takes 16 cores, 32 GB of memory and 1 TB of disk",
            Tier::B => "B, prosumer; C takes 32 cores, 64 GB of memory and 4 TB of disk",
            Tier::C => "C, enterprise",
        };
        format!(
            "processor  {name}: {} core(s), {} thread(s); {}\nmemory     {} GiB, {} GiB free\ndisk       {} GiB, {} GiB free\nGPUs       {gpus}\ntier       {meaning}",
            machine.cores,
            machine.threads,
            if machine.features.is_empty() {
                "no instructions that kernels make use of".to_owned()
            } else {
                machine.features.join(" ")
            },
            gibibytes(machine.memory),
            gibibytes(machine.memory_available),
            gibibytes(disk.total),
            gibibytes(disk.available),
        )
    }
}
