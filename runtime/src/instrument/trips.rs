//! Loops whose number of iterations is known when they begin, so that all of them can be paid for at once.
//!
//! Such a loop ends in a branch back to itself, its only one, for as long as a counter differs from a limit: `i + d ≠ n`, where
//! every iteration adds the constant `c` to the local `i`, and `n` is a constant or a local that the loop does not change. Nothing in
//! it leaves it before. If `i` is what the counter was when the loop began, the number of iterations is, modulo 2³²,
//!
//! ```text
//! 1 + (n - i - d) ÷ c
//! ```
//!
//! That is exact also where the counter wraps around: with `c = 2ᵏ × odd`, division by `odd` is multiplication by its inverse. If the
//! difference is not a multiple of `2ᵏ`, the loop never ends.

use super::nan;
use wasmparser::Operator;

/// How often a loop runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Trips {
    /// The local that counts.
    pub(super) counter: u32,
    /// What each iteration adds to it; not 0.
    pub(super) step: u32,
    /// What the counter that is compared is ahead of what it was when the iteration began.
    pub(super) ahead: u32,
    pub(super) limit: Limit,
}

/// What the counter is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Limit {
    Constant(u32),
    Local(u32),
}

/// An operand, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Term {
    Unknown,
    Constant(u32),
    /// What a local was when the iteration began, and what was added.
    Sum(u32, u32),
    /// Whether two terms differ, each of which is a local and what was added, or a constant.
    Differ((u32, u32), Result<(u32, u32), u32>),
}

/// Follows one iteration of a loop that contains no other.
pub(super) struct Iteration {
    /// The topmost operands. Those below are unknown.
    stack: Vec<Term>,
    /// Locals that were set: to what, if that is known.
    set: Vec<(u32, Term)>,
    found: Option<Trips>,
    odd: bool,
}

/// Locals that are set in a loop that is followed: a bound on the time that it takes.
const MAX_SET: usize = 32;

impl Iteration {
    pub(super) fn new() -> Self {
        Self { stack: Vec::new(), set: Vec::new(), found: None, odd: false }
    }

    /// Whether nothing is to be found out any more about plain operators.
    pub(super) fn is_settled(&self) -> bool {
        self.odd || self.found.is_some()
    }

    /// How often the loop runs, once all of it was seen.
    pub(super) fn trips(&self) -> Option<Trips> {
        self.found.filter(|_| !self.odd)
    }

    /// A branch back to the beginning: a conditional one that is always come to, or another.
    pub(super) fn back(&mut self, is_end: bool) {
        self.odd |= self.found.is_some() || !is_end;
        if !self.odd {
            // The condition is still on the stack.
            self.found = self.stack.last().and_then(|condition| self.counted(*condition));
            self.odd = self.found.is_none();
        }
    }

    /// A branch out of the loop, or something else than plain computing.
    pub(super) fn leave(&mut self) {
        self.odd |= self.found.is_none();
    }

    /// The next operator; `certain` says whether each iteration comes to it.
    pub(super) fn follow(&mut self, operator: &Operator<'_>, certain: bool) {
        if self.is_settled() {
            return;
        }
        match operator {
            Operator::LocalSet { local_index } => {
                let term = self.pop();
                self.set(*local_index, term, certain);
            }
            Operator::LocalTee { local_index } => {
                let term = self.pop();
                self.set(*local_index, term, certain);
                self.stack.push(term);
            }
            _ if !certain => self.stack.clear(),
            Operator::LocalGet { local_index } => {
                let term = self.get(*local_index);
                self.stack.push(term);
            }
            Operator::I32Const { value } => self.stack.push(Term::Constant(value.cast_unsigned())),
            Operator::I32Add => {
                let term = match (self.pop(), self.pop()) {
                    (Term::Sum(local, sum), Term::Constant(more)) | (Term::Constant(more), Term::Sum(local, sum)) => {
                        Term::Sum(local, sum.wrapping_add(more))
                    }
                    _ => Term::Unknown,
                };
                self.stack.push(term);
            }
            Operator::I32Ne => {
                let term = match (self.pop(), self.pop()) {
                    (Term::Sum(local, sum), Term::Sum(other, others)) => {
                        Term::Differ((local, sum), Ok((other, others)))
                    }
                    (Term::Sum(local, sum), Term::Constant(limit)) | (Term::Constant(limit), Term::Sum(local, sum)) => {
                        Term::Differ((local, sum), Err(limit))
                    }
                    _ => Term::Unknown,
                };
                self.stack.push(term);
            }
            operator => match nan::arity(operator) {
                Some((operands, results)) => {
                    let kept = self.stack.len().saturating_sub(operands as usize);
                    self.stack.truncate(kept);
                    self.stack.extend((0..results).map(|_| Term::Unknown));
                }
                None => self.stack.clear(),
            },
        }
    }

    fn pop(&mut self) -> Term {
        self.stack.pop().unwrap_or(Term::Unknown)
    }

    fn get(&self, local: u32) -> Term {
        let set = self.set.iter().rev().find(|(other, _)| *other == local);
        set.map_or(Term::Sum(local, 0), |(_, term)| *term)
    }

    fn set(&mut self, local: u32, term: Term, certain: bool) {
        self.odd |= self.set.len() == MAX_SET;
        if !self.odd {
            self.set.push((local, if certain { term } else { Term::Unknown }));
        }
    }

    fn counted(&self, condition: Term) -> Option<Trips> {
        match condition {
            Term::Differ(one, Ok(other)) => self.against(one, other).or_else(|| self.against(other, one)),
            Term::Differ(one, Err(limit)) => self.counter(one, Limit::Constant(limit)),
            Term::Sum(local, sum) => self.counter((local, sum), Limit::Constant(0)),
            _ => None,
        }
    }

    fn against(&self, one: (u32, u32), (limit, sum): (u32, u32)) -> Option<Trips> {
        let unchanged = sum == 0 && self.set.iter().all(|(local, _)| *local != limit);
        if unchanged { self.counter(one, Limit::Local(limit)) } else { None }
    }

    /// A local that is set once, to what it was and a constant.
    fn counter(&self, (counter, ahead): (u32, u32), limit: Limit) -> Option<Trips> {
        let mut set = self.set.iter().filter(|(local, _)| *local == counter);
        match (set.next(), set.next()) {
            (Some((_, Term::Sum(local, step))), None) if *local == counter && *step != 0 => {
                Some(Trips { counter, step: *step, ahead, limit })
            }
            _ => None,
        }
    }
}

/// The inverse of an odd number modulo 2³², by Newton's method: each step doubles the number of bits that are right, 3 at first.
pub(super) fn inverse(odd: u32) -> u32 {
    (0..4).fold(odd, |inverse, _| inverse.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(inverse))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverses_are_inverse() {
        for odd in (1..100_000).step_by(2).chain([u32::MAX, 0x8000_0001, 0xdead_beef]) {
            assert_eq!(odd.wrapping_mul(inverse(odd)), 1, "{odd}");
        }
    }
}
