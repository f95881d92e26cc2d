//! The processor's own rules for floats.

/// Does `work` with floats as IEEE 754 has them by default, whatever they were before: rounded to nearest, subnormal numbers kept, nothing
/// trapped. Other programs in the process may have changed that for their threads.
pub fn with_ieee_floats<T>(work: impl FnOnce() -> T) -> T {
    let _restored = Restored::default();
    work()
}

/// What was set before, if that was something else.
struct Restored(Option<Control>);

impl Default for Restored {
    fn default() -> Self {
        let before = control();
        // What has happened so far is no rule.
        let other = before & !HAPPENED != DEFAULT;
        if other {
            set_control(DEFAULT);
        }
        Self(other.then_some(before))
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            set_control(before);
        }
    }
}

/// MXCSR: Intel's manual, volume 1, section 10.2.3.
#[cfg(target_arch = "x86_64")]
type Control = u32;
#[cfg(target_arch = "x86_64")]
const DEFAULT: Control = 0x1F80;
#[cfg(target_arch = "x86_64")]
const HAPPENED: Control = 0x3F;

#[cfg(target_arch = "x86_64")]
fn control() -> Control {
    let mut control = 0;
    // SAFETY: writes to the variable.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack, preserves_flags)) };
    control
}

#[cfg(target_arch = "x86_64")]
fn set_control(control: Control) {
    // SAFETY: reads the variable; only the processor's rules for floats change, which every caller sets back.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack, preserves_flags, readonly)) };
}

/// FPCR: Arm's manual, section C5.2.8. What has happened is in another register.
#[cfg(target_arch = "aarch64")]
type Control = u64;
#[cfg(target_arch = "aarch64")]
const DEFAULT: Control = 0;
#[cfg(target_arch = "aarch64")]
const HAPPENED: Control = 0;

#[cfg(target_arch = "aarch64")]
fn control() -> Control {
    let control;
    // SAFETY: reads the register.
    unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) control, options(nomem, nostack, preserves_flags)) };
    control
}

#[cfg(target_arch = "aarch64")]
fn set_control(control: Control) {
    // SAFETY: only the processor's rules for floats change, which every caller sets back.
    unsafe { std::arch::asm!("msr fpcr, {}", in(reg) control, options(nostack, preserves_flags)) };
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the rules for floats of this processor are not known");

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    /// Subnormal numbers are taken for zeros, and results that are subnormal become zeros.
    #[cfg(target_arch = "x86_64")]
    const FLUSH: Control = DEFAULT | 1 << 6 | 1 << 15;
    #[cfg(target_arch = "aarch64")]
    const FLUSH: Control = 1 << 24;

    #[test]
    fn other_rules_hold_again_afterwards() {
        let half = || black_box(black_box(f32::MIN_POSITIVE) * black_box(0.5)).to_bits();
        assert_eq!(half(), 1 << 22);
        set_control(FLUSH);
        let seen = [half(), with_ieee_floats(half), half()];
        set_control(DEFAULT);
        assert_eq!(seen, [0, 1 << 22, 0]);
    }
}
