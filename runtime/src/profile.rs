//! What results of nodes can be compared: only those of one profile.

use crate::{calls, instrument, validate};
use depx_host_abi::{fuel, snapshot, stack, wasi};
use depx_protocol::{DeterminismClass, Hash, Tag};

/// Everything that decides a result beside the job itself. How code is compiled and where memory comes from is not among
/// it: results do not depend on that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Profile {
    class: DeterminismClass,
    /// What runs the models.
    inference: String,
}

impl Profile {
    /// WebAssembly alone.
    pub(crate) fn exact() -> Self {
        Self { class: DeterminismClass::Exact, inference: String::new() }
    }

    /// WebAssembly, and models in what `backend` describes.
    pub(crate) fn with_models(class: DeterminismClass, backend: &str) -> Self {
        Self { class, inference: backend.to_owned() }
    }

    /// The profile's identity.
    pub(crate) fn hash(&self) -> Hash {
        Tag::Profile.hash(&[self.description().as_bytes()])
    }

    /// The canonical description: one `name=value` per line; what may contain a line break comes last.
    fn description(&self) -> String {
        format!(
            "schedule={}\ninstrument={}\nfeatures={:#x}\ndepth={}\nwasi={}\nsnapshot={}\nsnapshot_fuel={}\nsnapshot_pages={}\nhost_calls={}\nclass={}\ninference={}",
            fuel::SCHEDULE_VERSION,
            instrument::VERSION,
            validate::FEATURES.bits(),
            stack::DEPTH_LIMIT,
            wasi::BEHAVIOUR_VERSION,
            snapshot::VERSION,
            snapshot::FUEL,
            snapshot::MEMORY_PAGES,
            calls::VERSION,
            self.class.name(),
            self.inference
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn the_description_is_pinned() {
        expect![[r#"
            schedule=4
            instrument=4
            features=0xc0000887f
            depth=1048576
            wasi=2
            snapshot=1
            snapshot_fuel=1073741824
            snapshot_pages=2048
            host_calls=1
            class=D0
            inference="#]]
        .assert_eq(&Profile::exact().description());
        expect!["244a0b6af9fb89a6d3cadfdf86b435b4d93c7d40c63c62b15153a9802a4ca97e"]
            .assert_eq(&Profile::exact().hash().to_string());
    }

    #[test]
    fn backends_and_classes_make_different_profiles() {
        let [reproducible, pinned] = [DeterminismClass::Reproducible, DeterminismClass::Pinned];
        let backends =
            [(reproducible, ""), (reproducible, "kernels 1"), (pinned, ""), (pinned, "onnxruntime 1.22 cpu")];
        let with_models = backends.map(|(class, backend)| Profile::with_models(class, backend));
        let all: Vec<_> = std::iter::once(Profile::exact()).chain(with_models).collect();
        for (position, profile) in all.iter().enumerate() {
            assert!(all[..position].iter().all(|other| other.hash() != profile.hash()));
        }
    }
}
