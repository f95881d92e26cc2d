//! Where a function charges fuel, and how much.
//!
//! Operators that are always executed together form a *region*, and its cost is charged at its first operator. A region goes
//! on after a nested block, loop or `if` from which nothing branches further out, because all ways through it meet again.
//! Where both arms of an `if` cost something and neither is left early, the cheaper arm's cost is paid before it.
//!
//! A branch that leaves a loop or the function is taken once and passed by often. A region goes on behind it as if it were never taken,
//! and when it is, it *refunds* what is left of the region. Fuel would then seem to be less than it is, so nothing may look at it
//! in between: no loop, call or length lies between the beginning of a region and a branch that refunds it.
//!
//! Fuel is kept in a local. What is charged is *saved* to the global where others may look at it: before calls, before the function
//! returns or gives up, and once per iteration of a loop; so what a run that traps has paid is right but for the piece that it was in.
//! If a region that nothing interrupts leads there, it is saved where it is charged.
//!
//! The region at the beginning of a loop whose number of iterations is known before it is paid for all of them at once; see [`super::trips`].

use super::trips::{Iteration, Trips};
use super::{cost, nan};
use std::collections::BTreeMap;
use wasmparser::{BlockType, FrameKind, FrameStack, FuncType, Operator, VisitOperator, VisitSimdOperator};

/// How to meter one function.
#[derive(Clone, Default)]
pub(crate) struct Plan {
    /// What each region costs, in units of fuel. Region 0 begins with the function.
    pub(super) costs: Vec<u64>,
    /// For each region, whether fuel is saved where it is charged.
    pub(super) saved: Vec<bool>,
    /// What each exit refunds.
    pub(super) refunds: Vec<u64>,
    /// By their first regions, the loops of which all iterations are paid for at once.
    pub(super) prepaid: BTreeMap<u32, Prepaid>,
    /// What to change, in the order of the code.
    pub(super) edits: Vec<Edit>,
    /// Whether it computes with floats.
    pub(super) floats: bool,
}

/// A change before the operator at `offset`, in bytes from the beginning of the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Edit {
    pub(super) offset: u32,
    pub(super) change: Change,
}

/// What changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// A region begins. Loops must find out here when fuel has run out.
    Charge { region: u32, check: bool },
    /// The operator is a loop that begins with this region.
    Loop { region: u32 },
    /// The operator calls this function, or one that is not known. Fuel must be saved before if it is not.
    Call { function: Option<u32>, save: bool },
    /// A function that was called may have used fuel.
    Called,
    /// Fuel must be saved.
    Save,
    /// The operator is a branch that refunds, and may return from the function.
    Exit { exit: u32, returns: bool },
    /// The operator is `br_if` to the label `depth`, a branch that refunds if it is taken, and may return from the function.
    ExitIf { exit: u32, depth: u32, returns: bool },
    /// The operator's cost depends on the topmost operand.
    ChargeLength(Length),
}

/// A loop of which all iterations are paid for at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Prepaid {
    pub(super) trips: Trips,
    /// Whether it has more regions, so that it must still find out when fuel has run out.
    pub(super) check: bool,
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
    /// The outermost block that a branch from within it leads to without refund.
    outermost: usize,
    arms: Arms,
    is_loop: bool,
    /// Whether branches to it hand something over.
    takes_values: bool,
    /// What branches to it have left behind of regions that were paid for.
    left: Vec<Left>,
    /// Whether something may not have been saved on another way to its end.
    unsaved: bool,
}

/// The first regions of an `if`.
#[derive(Clone, Copy)]
enum Arms {
    None,
    /// One arm; the other is empty, and something may not have been saved before.
    Then {
        then: u32,
        unsaved: bool,
    },
    Both(u32, u32),
}

/// A loop that contains no other so far.
struct Innermost {
    /// Its place among the blocks.
    frame: usize,
    /// Its first region.
    region: u32,
    /// How many regions there were when it was known how often it runs.
    regions: usize,
    iteration: Iteration,
}

/// Where a branch left a region.
#[derive(Clone, Copy)]
struct Left {
    exit: u32,
    region: u32,
    /// What had come together of the region's cost.
    cost: u64,
}

/// A branch refunds what is left in at most so many blocks: a bound on the time that planning takes.
const MAX_LEFT: usize = 32;

/// Plans functions, one after the other.
#[derive(Default)]
pub(crate) struct Planner {
    plan: Plan,
    /// Where the operator is that is being visited.
    offset: u32,
    frames: Vec<Frame>,
    /// The innermost loop, or the function.
    loops: Vec<usize>,
    /// The loop that is being followed.
    innermost: Option<Innermost>,
    /// The region that the next operator belongs to, unless it is unreachable.
    region: Option<u32>,
    /// A region that begins with the next operator, and whether to check there.
    begins: Option<(u32, bool)>,
    /// Whether the last operator was a call.
    called: bool,
    /// How many operators so far look at the fuel that is left.
    looks: u32,
    /// For each region, how many of them were before it.
    looks_before: Vec<u32>,
    /// For each region, whether a branch refunds what is left of it.
    refunded: Vec<bool>,
    /// Whether something may have been charged and not been saved.
    unsaved: bool,
}

/// Whether more than its cost matters of an operator wherever it stands.
#[inline(always)]
fn decides(operator: &Operator<'_>) -> bool {
    use Operator::*;
    let is_control = matches!(operator, Block { .. } | Loop { .. } | If { .. } | Else | End | Unreachable);
    let is_branch = matches!(operator, Br { .. } | BrIf { .. } | BrTable { .. } | Return);
    let is_call = matches!(operator, Call { .. } | CallIndirect { .. });
    let is_long = matches!(operator, MemoryCopy { .. } | MemoryFill { .. } | MemoryInit { .. } | MemoryGrow { .. })
        || matches!(operator, TableCopy { .. } | TableFill { .. } | TableInit { .. } | TableGrow { .. });
    is_control || is_branch || is_call || is_long
}

/// Validates and plans an operator as it is read, which is faster than to read it twice.
pub(crate) struct Visitor<'p, V> {
    validator: V,
    planner: &'p mut Planner,
    types: &'p [FuncType],
}

impl<V: FrameStack> FrameStack for Visitor<'_, V> {
    fn current_frame(&self) -> Option<FrameKind> {
        self.validator.current_frame()
    }
}

macro_rules! visit {
    ($( @$proposal:ident $operator:ident $({ $($field:ident: $ty:ty),* })? => $visit:ident ($($arity:tt)*) )*) => {
        $(fn $visit(&mut self $($(, $field: $ty)*)?) -> Self::Output {
            visit!(@valid $proposal self.validator).$visit($($($field.clone()),*)?)?;
            self.planner.visit(&Operator::$operator $({ $($field),* })?, self.types);
            Ok(())
        })*
    };
    (@valid simd $validator:expr) => { $validator.simd_visitor().expect("a validator knows vectors") };
    (@valid relaxed_simd $validator:expr) => { visit!(@valid simd $validator) };
    (@valid $proposal:ident $validator:expr) => { $validator };
}

impl<'a, V: VisitOperator<'a, Output = wasmparser::Result<()>>> VisitOperator<'a> for Visitor<'_, V> {
    type Output = wasmparser::Result<()>;

    fn simd_visitor(&mut self) -> Option<&mut dyn VisitSimdOperator<'a, Output = Self::Output>> {
        Some(self)
    }

    wasmparser::for_each_visit_operator!(visit);
}

impl<'a, V: VisitOperator<'a, Output = wasmparser::Result<()>>> VisitSimdOperator<'a> for Visitor<'_, V> {
    wasmparser::for_each_visit_simd_operator!(visit);
}

impl Planner {
    /// Begins with a function of this type.
    pub(crate) fn begin_function(&mut self, ty: &FuncType) {
        self.add_region();
        self.loops.push(0);
        self.open(!ty.results().is_empty());
        (self.region, self.unsaved) = (Some(0), true);
    }

    /// Plans the operator at `offset` if `validator` says that it is valid.
    pub(crate) fn visitor<'p, V>(&'p mut self, offset: usize, types: &'p [FuncType], validator: V) -> Visitor<'p, V> {
        self.offset = u32::try_from(offset).expect("a module is smaller");
        Visitor { validator, planner: self, types }
    }

    /// Ends a function whose last operator was visited.
    pub(crate) fn end_function(&mut self) -> Plan {
        let plan = self.plan.clone();
        self.plan.clear();
        self.frames.clear();
        self.loops.clear();
        self.looks_before.clear();
        self.refunded.clear();
        (self.innermost, self.begins, self.called, self.looks) = (None, None, false, 0);
        plan
    }

    /// The next operator. What can be said of it without its operands follows from the visit: it is the same for all such operators.
    #[inline(always)]
    fn visit(&mut self, operator: &Operator<'_>, types: &[FuncType]) {
        self.pay(cost::class(operator).cost(), nan::arithmetic(operator).is_some());
        if decides(operator) || self.innermost.as_ref().is_some_and(|innermost| !innermost.iteration.is_settled()) {
            self.operator(operator, types);
        }
    }

    /// An operator that costs this much.
    fn pay(&mut self, cost: u32, is_float: bool) {
        if std::mem::take(&mut self.called) {
            self.edit(self.offset, Change::Called);
        }
        if let Some((region, check)) = self.begins.take() {
            self.edit(self.offset, Change::Charge { region, check });
        }
        self.plan.floats |= is_float;
        if let Some(region) = self.region {
            self.plan.costs[region as usize] += u64::from(cost);
        }
    }

    /// What an operator does to regions.
    #[inline(never)]
    fn operator(&mut self, operator: &Operator<'_>, types: &[FuncType]) {
        let offset = self.offset;
        if !matches!(operator, Operator::BrIf { .. }) {
            self.follow(operator);
        }
        match operator {
            Operator::Block { blockty } => self.open(has_results(*blockty, types)),
            Operator::Loop { blockty } => {
                self.enter_loop(offset);
                self.open(has_parameters(*blockty, types));
                self.loops.push(self.frames.len() - 1);
                if let Some(frame) = self.frames.last_mut() {
                    frame.is_loop = true;
                }
                self.looks += 1;
                self.begin(true);
            }
            Operator::If { blockty } => {
                let unsaved = self.unsaved;
                self.open(has_results(*blockty, types));
                self.begin(false);
                if let (Some(then), Some(frame)) = (self.region, self.frames.last_mut()) {
                    frame.arms = Arms::Then { then, unsaved };
                }
            }
            Operator::Else => self.otherwise(),
            Operator::End => {
                self.save_if_returning(self.frames.len() - 1, offset);
                self.close();
            }
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth, offset);
                self.region = None;
            }
            Operator::BrIf { relative_depth } => self.branch_if(*relative_depth, offset),
            Operator::BrTable { targets } => {
                let farthest = targets.targets().flatten().fold(targets.default(), u32::max);
                self.save_if_returning(self.target(farthest), offset);
                for target in targets.targets().flatten().chain([targets.default()]) {
                    self.note_branch(self.target(target), false);
                }
                self.break_out(self.target(farthest));
                self.region = None;
            }
            Operator::Return => {
                self.branch(self.frames.len() as u32 - 1, offset);
                self.region = None;
            }
            Operator::Unreachable => {
                self.save(offset);
                self.region = None;
            }
            Operator::Call { function_index } => self.call(Some(*function_index), offset),
            Operator::CallIndirect { .. } => self.call(None, offset),
            Operator::MemoryCopy { .. } | Operator::MemoryFill { .. } | Operator::MemoryInit { .. } => {
                self.charge_length(offset, Length::Bytes);
            }
            Operator::TableCopy { .. }
            | Operator::TableFill { .. }
            | Operator::TableInit { .. }
            | Operator::TableGrow { .. } => self.charge_length(offset, Length::Elements),
            Operator::MemoryGrow { .. } => self.charge_length(offset, Length::Pages),
            _ => {}
        }
    }

    fn edit(&mut self, offset: u32, change: Change) {
        self.plan.edits.push(Edit { offset, change });
    }

    fn call(&mut self, function: Option<u32>, offset: u32) {
        let save = self.must_save();
        self.edit(offset, Change::Call { function, save });
        self.called = true;
        self.look();
    }

    fn charge_length(&mut self, offset: u32, length: Length) {
        self.edit(offset, Change::ChargeLength(length));
        self.unsaved = false;
        self.look();
    }

    /// Sees to it that fuel is saved before the operator at `offset`.
    fn save(&mut self, offset: u32) {
        if self.must_save() {
            self.edit(offset, Change::Save);
        }
    }

    /// Sees to it that fuel is saved before the branch at `offset` if it leaves the function.
    fn save_if_returning(&mut self, target: usize, offset: u32) {
        if target == 0 {
            self.save(offset);
        }
    }

    /// Whether fuel is to be saved here, because it is not already. If no other region has begun since this one, it can be saved where
    /// this is charged.
    fn must_save(&mut self) -> bool {
        match self.region {
            Some(region) if std::mem::take(&mut self.unsaved) => {
                let uninterrupted = region as usize + 1 == self.plan.costs.len();
                self.plan.saved[region as usize] |= uninterrupted;
                !uninterrupted
            }
            _ => false,
        }
    }

    /// Notes that an operator looks at the fuel that is left.
    fn look(&mut self) {
        self.looks += 1;
        if let Some(innermost) = &mut self.innermost {
            innermost.iteration.leave();
        }
    }

    /// Begins a region with the next operator. What follows unreachable code is unreachable.
    fn begin(&mut self, check: bool) {
        if self.region.is_some() {
            let region = self.add_region();
            self.region = Some(region);
            self.begins = Some((region, check));
            // Loops save what they charge.
            self.unsaved = !check;
        }
    }

    fn add_region(&mut self) -> u32 {
        let region = self.plan.costs.len() as u32;
        self.plan.costs.push(0);
        self.plan.saved.push(false);
        self.looks_before.push(self.looks);
        self.refunded.push(false);
        region
    }

    fn open(&mut self, takes_values: bool) {
        let (region, outermost) = (self.region, self.frames.len());
        let (arms, left) = (Arms::None, Vec::new());
        self.frames.push(Frame { region, outermost, arms, is_loop: false, takes_values, left, unsaved: false });
    }

    fn otherwise(&mut self) {
        let reached = self.region.is_some();
        let Some(frame) = self.frames.last_mut() else { return };
        frame.unsaved |= reached && self.unsaved;
        self.region = frame.region;
        self.begin(false);
        if let (Some(region), Some(frame)) = (self.region, self.frames.last_mut())
            && let Arms::Then { then, .. } = frame.arms
        {
            frame.arms = Arms::Both(then, region);
        }
    }

    fn close(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        let costs = &mut self.plan.costs;
        if let (Some(before), Arms::Both(then, otherwise)) = (frame.region, frame.arms)
            && !self.refunded[then as usize]
            && !self.refunded[otherwise as usize]
        {
            let common = costs[then as usize].min(costs[otherwise as usize]);
            costs[then as usize] -= common;
            costs[otherwise as usize] -= common;
            costs[before as usize] += common;
        }
        for left in &frame.left {
            self.plan.refunds[left.exit as usize] += costs[left.region as usize] - left.cost;
        }
        if frame.is_loop {
            self.loops.pop();
            self.leave_loop();
        }
        if let Some(parent) = self.frames.last_mut() {
            parent.outermost = parent.outermost.min(frame.outermost);
        }
        self.unsaved &= self.region.is_some();
        self.unsaved |= frame.unsaved && !frame.is_loop;
        self.unsaved |= matches!(frame.arms, Arms::Then { unsaved: true, .. });
        self.region = frame.region;
        if frame.outermost < self.frames.len() {
            self.begin(false);
        }
    }

    /// Begins to follow a loop, whose frame is the next. It is part of others, which are not followed further.
    fn enter_loop(&mut self, offset: u32) {
        let (frame, region) = (self.frames.len(), self.plan.costs.len() as u32);
        self.innermost = None;
        if self.region.is_some() {
            self.edit(offset, Change::Loop { region });
            self.innermost = Some(Innermost { frame, region, regions: 0, iteration: Iteration::new() });
        }
    }

    /// Follows the iteration of the innermost loop.
    fn follow(&mut self, operator: &Operator<'_>) {
        if let Some(innermost) = &mut self.innermost {
            innermost.iteration.follow(operator, innermost.frame + 1 == self.frames.len());
        }
    }

    /// Notes a branch; `may_end` if it is conditional.
    fn note_branch(&mut self, target: usize, may_end: bool) {
        self.frames[target].unsaved |= self.unsaved && self.region.is_some();
        let Some(innermost) = &mut self.innermost else { return };
        if target < innermost.frame {
            innermost.iteration.leave();
        } else if target == innermost.frame {
            let certain = self.region.is_some() && innermost.frame + 1 == self.frames.len();
            innermost.iteration.back(may_end && certain);
            innermost.regions = self.plan.costs.len();
        }
    }

    /// Ends the loop that was just closed.
    fn leave_loop(&mut self) {
        let Some(Innermost { region, regions, iteration, .. }) = self.innermost.take() else { return };
        if let Some(trips) = iteration.trips() {
            let check = self.plan.costs[region as usize + 1..regions].iter().any(|cost| *cost > 0);
            self.plan.prepaid.insert(region, Prepaid { trips, check });
        }
    }

    /// The block whose label is `depth`.
    fn target(&self, depth: u32) -> usize {
        self.frames.len() - 1 - depth as usize
    }

    /// Whether branches to a block are likely to be taken once: those that leave the innermost loop, or the function.
    fn is_exit(&self, target: usize) -> bool {
        let innermost = self.loops.last().copied().unwrap_or(0);
        (target < innermost || target == 0) && !self.frames[target].is_loop
    }

    fn branch(&mut self, depth: u32, offset: u32) {
        let target = self.target(depth);
        self.save_if_returning(target, offset);
        self.note_branch(target, false);
        match self.exit(target) {
            Some(exit) => self.edit(offset, Change::Exit { exit, returns: target == 0 }),
            None => self.break_out(target),
        }
    }

    fn branch_if(&mut self, depth: u32, offset: u32) {
        let target = self.target(depth);
        self.note_branch(target, true);
        let exit = if self.frames[target].takes_values { None } else { self.exit(target) };
        match exit {
            Some(exit) => self.edit(offset, Change::ExitIf { exit, depth, returns: target == 0 }),
            None => {
                self.save_if_returning(target, offset);
                self.break_out(target);
                self.begin(false);
            }
        }
    }

    /// Notes a branch out of blocks that does not refund: regions around it end with the blocks.
    fn break_out(&mut self, target: usize) {
        if self.region.is_some()
            && let Some(frame) = self.frames.last_mut()
        {
            frame.outermost = frame.outermost.min(target);
        }
    }

    /// Notes a branch that refunds, if this is one that may. Regions at whose fuel something has looked end with their blocks.
    fn exit(&mut self, target: usize) -> Option<u32> {
        let region = self.region.filter(|region| self.is_untouched(*region) && self.is_exit(target))?;
        let exit = self.plan.refunds.len() as u32;
        self.plan.refunds.push(0);
        self.leave(target, exit, region);
        let mut last = region;
        for inner in (target + 1..self.frames.len()).rev() {
            let region = self.frames[inner].region?;
            if !self.is_untouched(region) || self.frames.len() - inner > MAX_LEFT {
                let frame = &mut self.frames[inner];
                frame.outermost = frame.outermost.min(target);
                break;
            }
            if region != last {
                self.leave(target, exit, region);
                last = region;
            }
        }
        Some(exit)
    }

    fn leave(&mut self, target: usize, exit: u32, region: u32) {
        let cost = self.plan.costs[region as usize];
        self.frames[target].left.push(Left { exit, region, cost });
        self.frames[target].unsaved = true;
        self.refunded[region as usize] = true;
    }

    /// Whether nothing has looked at the fuel that is left since a region began.
    fn is_untouched(&self, region: u32) -> bool {
        self.looks_before[region as usize] == self.looks
    }
}

impl Plan {
    fn clear(&mut self) {
        self.costs.clear();
        self.saved.clear();
        self.refunds.clear();
        self.prepaid.clear();
        self.edits.clear();
        self.floats = false;
    }
}

fn has_results(ty: BlockType, types: &[FuncType]) -> bool {
    match ty {
        BlockType::Empty => false,
        BlockType::Type(_) => true,
        BlockType::FuncType(index) => !types[index as usize].results().is_empty(),
    }
}

fn has_parameters(ty: BlockType, types: &[FuncType]) -> bool {
    match ty {
        BlockType::Empty | BlockType::Type(_) => false,
        BlockType::FuncType(index) => !types[index as usize].params().is_empty(),
    }
}
