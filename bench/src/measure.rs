//! Clocks, turns and medians.

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};
use std::time::Instant;

/// Runs `work` and gives the processor time that this thread spent in it, in seconds: what other programs do meanwhile hardly
/// shows in it.
pub(crate) fn processor_time<T>(work: impl FnOnce() -> Result<T>) -> Result<f64> {
    let before = seconds(ClockId::ThreadCPUTime);
    work()?;
    Ok(seconds(ClockId::ThreadCPUTime) - before)
}

/// The processor time that all threads of this process have spent so far, in seconds.
pub(crate) fn process_time() -> f64 {
    seconds(ClockId::ProcessCPUTime)
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Runs `work` and gives how long it took, in seconds.
pub(crate) fn wall_time<T>(work: impl FnOnce() -> Result<T>) -> Result<f64> {
    let before = Instant::now();
    work()?;
    Ok(before.elapsed().as_secs_f64())
}

/// One contender: does its work once and gives how long that took, in seconds.
pub(crate) type Contender<'a> = &'a mut dyn FnMut() -> Result<f64>;

/// What each of `N` contenders took in each turn.
pub(crate) struct Turns<const N: usize>(Vec<[f64; N]>);

/// Lets the contenders take turns, each first in its turn, after one turn that does not count.
pub(crate) fn take_turns<const N: usize>(turns: usize, contenders: [Contender<'_>; N]) -> Result<Turns<N>> {
    let mut taken = Vec::with_capacity(turns);
    for turn in 0..=turns {
        let mut times = [0.0; N];
        for position in 0..N {
            let contender = (turn + position) % N;
            times[contender] = contenders[contender]()?;
        }
        if turn > 0 {
            taken.push(times);
        }
    }
    Ok(Turns(taken))
}

impl<const N: usize> Turns<N> {
    /// The median time of one contender, in seconds.
    pub(crate) fn time(&self, contender: usize) -> f64 {
        median(self.0.iter().map(|times| times[contender]))
    }

    /// The median over all turns of one contender's time divided by another's.
    pub(crate) fn ratio(&self, contender: usize, other: usize) -> f64 {
        median(self.0.iter().map(|times| times[contender] / times[other]))
    }

    /// The median over all turns of one contender's time minus another's, in seconds.
    pub(crate) fn difference(&self, contender: usize, other: usize) -> f64 {
        median(self.0.iter().map(|times| times[contender] - times[other]))
    }
}

/// The value in the middle, or half-way between the two there; not a number if there are none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

/// The geometric mean, which ratios ask for.
pub(crate) fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }

    #[test]
    fn the_geometric_mean_of_opposite_ratios_is_one() {
        assert!((geometric_mean(&[2.0, 0.5]) - 1.0).abs() < 1e-12);
        assert!((geometric_mean(&[1.0, 4.0]) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn contenders_alternate_and_the_first_turn_does_not_count() {
        let order = RefCell::new(String::new());
        let mut times = [vec![100.0, 1.0, 2.0, 4.0].into_iter(), vec![1.0, 1.0, 4.0, 2.0].into_iter()];
        let [a, b] = &mut times;
        let mut first = || {
            order.borrow_mut().push('a');
            Ok(a.next().unwrap())
        };
        let mut second = || {
            order.borrow_mut().push('b');
            Ok(b.next().unwrap())
        };
        let turns = take_turns(3, [&mut first, &mut second]).unwrap();
        assert_eq!(order.into_inner(), "abbaabba");
        // Pairs (1, 1), (2, 4), (4, 2).
        assert_eq!((turns.time(0), turns.time(1)), (2.0, 2.0));
        assert_eq!((turns.ratio(0, 1), turns.difference(0, 1)), (1.0, 0.0));
    }

    #[test]
    fn a_contender_that_fails_ends_it() {
        let mut fails = || Err(anyhow::anyhow!("it broke"));
        assert!(take_turns(1, [&mut fails]).is_err());
    }

    #[test]
    fn waiting_takes_wall_time_and_no_processor_time() {
        let sleep = || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            Ok(())
        };
        assert!(wall_time(sleep).unwrap() >= 0.02);
        assert!(processor_time(sleep).unwrap() < 0.02);
    }
}
