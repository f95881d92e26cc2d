//! Every order of events leads to at most one result, and to the honest one if enough voters are honest.

use depx_protocol::{Address, Consistency, Decision, Hash, Tally};
use proptest::prelude::*;
use proptest::sample::{Index, select};

const HONEST: Hash = Hash([0xaa; 32]);

fn voter(number: u8) -> Address {
    Address([number; 20])
}

fn lie(number: u8) -> Hash {
    Hash([number; 32])
}

fn consistencies() -> impl Strategy<Value = Consistency> {
    select(vec![Consistency::Eventual, Consistency::Session, Consistency::Strong])
}

#[derive(Clone, Copy, Debug)]
enum Executor {
    Honest,
    /// Votes for this lie; several may collude.
    Liar(u8),
    Silent,
}

/// What a coordinator saw.
struct Course {
    last: Decision,
    asked: Vec<Executor>,
    silent: usize,
}

/// Does what the tally says with these candidates, letting `order` pick whose turn it is, until it decides or nobody is left.
fn run(consistency: Consistency, candidates: &[Executor], order: &[Index]) -> Result<Course, TestCaseError> {
    let mut tally = Tally::new(consistency);
    let mut course = Course { last: tally.decision(), asked: vec![], silent: 0 };
    let mut pending = Vec::new();
    let mut turns = order.iter().cycle();
    loop {
        course.last = tally.decision();
        match &course.last {
            Decision::Dispatch(more) => {
                let room = consistency.committee() - pending.len() - tally.votes().len();
                prop_assert!(*more >= 1 && *more <= room, "{} more, with room for {}", more, room);
                prop_assert!(pending.len() + more <= consistency.quorum(), "nobody is asked in vain");
                for _ in 0..*more {
                    let Some(executor) = candidates.get(course.asked.len()) else { return Ok(course) };
                    let number = course.asked.len() as u8;
                    prop_assert!(tally.dispatched(voter(number)));
                    pending.push((number, *executor));
                    course.asked.push(*executor);
                }
            }
            Decision::Wait => {
                prop_assert!(!pending.is_empty(), "somebody is waited for");
                let turn = turns.next().expect("an endless cycle").index(pending.len());
                let (number, executor) = pending.swap_remove(turn);
                let counted = match executor {
                    Executor::Honest => tally.vote(voter(number), HONEST),
                    Executor::Liar(story) => tally.vote(voter(number), lie(story)),
                    Executor::Silent => {
                        course.silent += 1;
                        tally.no_show(voter(number))
                    }
                };
                prop_assert!(counted);
            }
            Decision::Agreed { result, dissenters } => {
                let (for_it, against): (Vec<_>, Vec<_>) = tally.votes().iter().partition(|(_, vote)| *vote == result);
                prop_assert!(for_it.len() >= consistency.quorum());
                prop_assert_eq!(dissenters, &against.into_iter().map(|(who, _)| *who).collect::<Vec<_>>());
                // Whatever the others say now changes nothing.
                for (number, _) in pending.drain(..) {
                    tally.vote(voter(number), lie(7));
                    let Decision::Agreed { result: later, .. } = tally.decision() else {
                        return Err(TestCaseError::fail("a decision was taken back"));
                    };
                    prop_assert_eq!(*result, later);
                }
                return Ok(course);
            }
            Decision::NoMajority => {
                for (number, _) in pending.drain(..) {
                    tally.vote(voter(number), HONEST);
                    prop_assert_eq!(tally.decision(), Decision::NoMajority);
                }
                return Ok(course);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn enough_honest_voters_win(
        consistency in consistencies(),
        liars in proptest::collection::vec(1u8..3, 0..3),
        silent in 0usize..6,
        order in proptest::collection::vec(any::<Index>(), 40),
        shuffle in proptest::collection::vec(any::<Index>(), 40),
    ) {
        // As many liars as leave a quorum of honest voters in every committee.
        let tolerated = consistency.committee() - consistency.quorum();
        let mut candidates: Vec<_> = liars.iter().take(tolerated).map(|story| Executor::Liar(*story)).collect();
        candidates.extend(vec![Executor::Silent; silent]);
        candidates.extend([Executor::Honest; 7]);
        for (place, other) in shuffle.iter().enumerate().take(candidates.len()) {
            let other = other.index(candidates.len());
            candidates.swap(place, other);
        }
        let course = run(consistency, &candidates, &order)?;
        let won = matches!(course.last, Decision::Agreed { result: HONEST, .. });
        prop_assert!(won, "{:?} after {:?}", course.last, course.asked);
        prop_assert!(course.asked.len() - course.silent <= consistency.committee(), "silence does not use up a vote");
    }

    #[test]
    fn any_voters_lead_to_an_end(
        consistency in consistencies(),
        kinds in proptest::collection::vec(0u8..5, 0..20),
        order in proptest::collection::vec(any::<Index>(), 40),
    ) {
        let kind = |kind: &u8| match kind {
            0 => Executor::Honest,
            1 => Executor::Silent,
            story => Executor::Liar(*story),
        };
        let candidates: Vec<_> = kinds.iter().map(kind).collect();
        let course = run(consistency, &candidates, &order)?;
        let ended = matches!(course.last, Decision::Agreed { .. } | Decision::NoMajority);
        prop_assert!(ended || course.asked.len() == candidates.len(), "only for want of candidates is there no end");
    }

    /// A caller that asks too many, takes votes from anyone, and forgets what it was told.
    #[test]
    fn no_caller_can_get_two_results(
        consistency in consistencies(),
        calls in proptest::collection::vec((0u8..4, 0u8..12, 0u8..3), 0..80),
    ) {
        let mut tally = Tally::new(consistency);
        let (mut agreed, mut hopeless) = (None, false);
        for (call, who, what) in calls {
            match call {
                0 | 1 => drop(tally.dispatched(voter(who))),
                2 => drop(tally.vote(voter(who), lie(what))),
                _ => drop(tally.no_show(voter(who))),
            }
            prop_assert!(tally.votes().len() <= consistency.committee());
            match tally.decision() {
                Decision::Agreed { result, .. } => {
                    prop_assert!(!hopeless, "agreed after there was no majority");
                    prop_assert_eq!(*agreed.get_or_insert(result), result);
                }
                Decision::NoMajority => {
                    prop_assert!(agreed.is_none(), "no majority after it was agreed");
                    hopeless = true;
                }
                Decision::Dispatch(_) | Decision::Wait => prop_assert!(agreed.is_none() && !hopeless),
            }
        }
    }
}

#[test]
fn only_those_who_were_asked_vote_and_only_once() {
    let mut tally = Tally::new(Consistency::Session);
    assert_eq!(tally.decision(), Decision::Dispatch(2));
    assert!(!tally.vote(voter(1), HONEST), "not asked");
    assert!(tally.dispatched(voter(1)) && !tally.dispatched(voter(1)), "asked once");
    assert_eq!(tally.decision(), Decision::Dispatch(1));
    assert!(tally.vote(voter(1), HONEST) && !tally.vote(voter(1), HONEST), "one vote");
    assert!(!tally.dispatched(voter(1)), "has voted");
    assert!(tally.dispatched(voter(2)) && tally.no_show(voter(2)) && !tally.no_show(voter(2)));
    assert!(!tally.vote(voter(2), HONEST), "too late");
    assert_eq!(tally.decision(), Decision::Dispatch(1), "the one who did not answer is replaced");
    assert!(tally.dispatched(voter(3)) && tally.vote(voter(3), lie(1)));
    assert_eq!(tally.decision(), Decision::Dispatch(1), "answers differ: a third is asked");
    assert!(tally.dispatched(voter(4)) && !tally.dispatched(voter(5)), "three make a committee");
    assert!(tally.vote(voter(4), HONEST));
    assert_eq!(tally.decision(), Decision::Agreed { result: HONEST, dissenters: vec![voter(3)] });
}

#[test]
fn a_quorum_is_more_than_half_of_its_committee() {
    for consistency in [Consistency::Eventual, Consistency::Session, Consistency::Strong] {
        assert!(2 * consistency.quorum() > consistency.committee(), "{consistency:?}");
    }
}
