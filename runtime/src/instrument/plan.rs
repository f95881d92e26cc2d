//! Where a function charges fuel, and how much.
//!
//! Operators that are always executed together form a *region*, and its cost is charged at its first operator. A region goes
//! on after a nested block, loop or `if` from which nothing branches further out, because all ways through it meet again.
//! Where both arms of an `if` cost something, the cheaper arm's cost is paid before it.

use super::{cost, nan};
use wasmparser::{FunctionBody, Operator};

/// How to meter one function.
#[derive(Default)]
pub(super) struct Plan {
    /// What each region costs, in units of fuel. Region 0 begins with the function.
    pub(super) costs: Vec<u64>,
    /// What to change, in the order of the code.
    pub(super) edits: Vec<Edit>,
    /// Number of operators.
    pub(super) operators: u32,
    /// Whether it calls functions.
    pub(super) calls: bool,
    /// Whether it handles vectors.
    pub(super) vectors: bool,
    /// Whether it computes with floats.
    pub(super) floats: bool,
}

/// A change before the operator at `offset`, in bytes from the beginning of the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Edit {
    pub(super) offset: usize,
    pub(super) change: Change,
}

/// What changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// A region begins. Loops must find out here when fuel has run out.
    Charge { region: u32, check: bool },
    /// The operator is `return`, within this many blocks.
    Return { blocks: u32 },
    /// The operator's cost depends on the topmost operand.
    ChargeLength(Length),
}

/// How a length is charged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Length {
    Bytes,
    Elements,
    Pages,
}

/// A block that is open.
struct Frame {
    /// The region before it, unless that is unreachable.
    region: Option<u32>,
    /// The outermost block that a branch from within it leads to.
    outermost: usize,
    arms: Arms,
}

/// The first regions of an `if`.
#[derive(Clone, Copy)]
enum Arms {
    None,
    Then(u32),
    Both(u32, u32),
}

impl Plan {
    /// Plans the metering of a valid function.
    pub(super) fn of(body: &FunctionBody<'_>) -> Result<Self, wasmparser::Error> {
        let mut planner = Planner::new();
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            let (operator, offset) = reader.read_with_offset()?;
            planner.operator(&operator, offset);
        }
        Ok(planner.plan)
    }
}

struct Planner {
    plan: Plan,
    frames: Vec<Frame>,
    /// The region that the next operator belongs to, unless it is unreachable.
    region: Option<u32>,
    /// A region that begins with the next operator, and whether to check there.
    begins: Option<(u32, bool)>,
}

impl Planner {
    fn new() -> Self {
        Self {
            plan: Plan { costs: vec![0], ..Plan::default() },
            frames: vec![Frame { region: None, outermost: 0, arms: Arms::None }],
            region: Some(0),
            begins: None,
        }
    }

    fn operator(&mut self, operator: &Operator<'_>, offset: usize) {
        if let Some((region, check)) = self.begins.take() {
            self.edit(offset, Change::Charge { region, check });
        }
        self.plan.operators += 1;
        self.plan.vectors |= cost::is_vector(operator);
        self.plan.floats |= nan::arithmetic(operator).is_some();
        if let Some(region) = self.region {
            self.plan.costs[region as usize] += u64::from(cost::class(operator).cost());
        }
        match operator {
            Operator::Block { .. } => self.open(),
            Operator::Loop { .. } => {
                self.open();
                self.begin(true);
            }
            Operator::If { .. } => {
                self.open();
                self.begin(false);
                if let (Some(region), Some(frame)) = (self.region, self.frames.last_mut()) {
                    frame.arms = Arms::Then(region);
                }
            }
            Operator::Else => self.otherwise(),
            Operator::End => self.close(),
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth);
                self.region = None;
            }
            Operator::BrIf { relative_depth } => {
                self.branch(*relative_depth);
                self.begin(false);
            }
            Operator::BrTable { targets } => {
                let farthest = targets.targets().flatten().fold(targets.default(), u32::max);
                self.branch(farthest);
                self.region = None;
            }
            Operator::Return => {
                let blocks = self.frames.len() as u32 - 1;
                self.branch(blocks);
                self.edit(offset, Change::Return { blocks });
                self.region = None;
            }
            Operator::Unreachable => self.region = None,
            Operator::Call { .. } | Operator::CallIndirect { .. } => self.plan.calls = true,
            Operator::MemoryCopy { .. } | Operator::MemoryFill { .. } | Operator::MemoryInit { .. } => {
                self.edit(offset, Change::ChargeLength(Length::Bytes));
            }
            Operator::TableCopy { .. }
            | Operator::TableFill { .. }
            | Operator::TableInit { .. }
            | Operator::TableGrow { .. } => self.edit(offset, Change::ChargeLength(Length::Elements)),
            Operator::MemoryGrow { .. } => self.edit(offset, Change::ChargeLength(Length::Pages)),
            _ => {}
        }
    }

    fn edit(&mut self, offset: usize, change: Change) {
        self.plan.edits.push(Edit { offset, change });
    }

    /// Begins a region with the next operator. What follows unreachable code is unreachable.
    fn begin(&mut self, check: bool) {
        if self.region.is_some() {
            let region = self.plan.costs.len() as u32;
            self.plan.costs.push(0);
            self.region = Some(region);
            self.begins = Some((region, check));
        }
    }

    fn open(&mut self) {
        self.frames.push(Frame { region: self.region, outermost: self.frames.len(), arms: Arms::None });
    }

    fn otherwise(&mut self) {
        let Some(frame) = self.frames.last() else { return };
        self.region = frame.region;
        self.begin(false);
        if let (Some(region), Some(frame)) = (self.region, self.frames.last_mut())
            && let Arms::Then(then) = frame.arms
        {
            frame.arms = Arms::Both(then, region);
        }
    }

    fn close(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        let costs = &mut self.plan.costs;
        if let (Some(before), Arms::Both(then, otherwise)) = (frame.region, frame.arms) {
            let common = costs[then as usize].min(costs[otherwise as usize]);
            costs[then as usize] -= common;
            costs[otherwise as usize] -= common;
            costs[before as usize] += common;
        }
        if let Some(parent) = self.frames.last_mut() {
            parent.outermost = parent.outermost.min(frame.outermost);
        }
        self.region = frame.region;
        if frame.outermost < self.frames.len() {
            self.begin(false);
        }
    }

    /// Notes a branch out of `depth` blocks.
    fn branch(&mut self, depth: u32) {
        if self.region.is_some() {
            let target = self.frames.len() - 1 - depth as usize;
            if let Some(frame) = self.frames.last_mut() {
                frame.outermost = frame.outermost.min(target);
            }
        }
    }
}
