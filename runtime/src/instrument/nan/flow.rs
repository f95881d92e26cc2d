//! Follows values through a function.

use super::graph::{Graph, Place, Value};
use super::{Shape, Site, arithmetic, arity, is_blind, is_number};
use crate::instrument::Function;
use wasmparser::{BlockType, FuncType, Operator, ValType};

/// Finds the sites of one function after the other.
pub(in crate::instrument) struct Flow<'a> {
    types: &'a [FuncType],
    /// The type of each function, imported ones first.
    functions: Vec<u32>,
    graph: Graph,
    locals: Vec<Local>,
    stack: Vec<Value>,
    frames: Vec<Frame>,
    history: History,
    sites: Vec<Site>,
}

/// What is known of a local.
struct Local {
    /// `None` unless it is a float.
    shape: Option<Shape>,
    /// Whatever it was set to anywhere, once that is needed.
    any: Option<Value>,
    /// What it begins with.
    initial: Value,
    /// What it was set to last, and when.
    last: Value,
    set: u32,
}

/// A block that is open.
struct Frame {
    kind: Kind,
    /// Height of the stack below it.
    base: usize,
    ty: Signature,
    /// What branches to it hand over, if that is one float.
    label: Option<Value>,
    /// When it was opened.
    opened: u32,
    /// Whether branches lead to it.
    targeted: bool,
    /// Whether code in it is unreachable from here on.
    dead: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Function,
    Block,
    Loop,
    If,
    Else,
}

/// Numbers of parameters and results, and the shape of the only one if it is a float.
#[derive(Clone, Copy)]
struct Signature {
    params: usize,
    results: usize,
    param: Option<Shape>,
    result: Option<Shape>,
}

/// Which settings of locals are still known. Time is counted in settings.
#[derive(Default)]
struct History {
    now: u32,
    /// Disjoint spans of time, in order: what was set in them may have been passed by.
    lost: Vec<(u32, u32)>,
}

impl<'a> Flow<'a> {
    /// `functions` holds the type of each function, imported ones first.
    pub(in crate::instrument) fn new(types: &'a [FuncType], functions: Vec<u32>) -> Self {
        Self {
            types,
            functions,
            graph: Graph::default(),
            locals: Vec::new(),
            stack: Vec::new(),
            frames: Vec::new(),
            history: History::default(),
            sites: Vec::new(),
        }
    }

    /// The sites of a valid function, in the order of the code.
    pub(in crate::instrument) fn sites(&mut self, function: &Function<'_>) -> Result<&[Site], wasmparser::Error> {
        self.begin(function)?;
        let mut reader = function.body.get_operators_reader()?;
        while !reader.eof() {
            let (operator, offset) = reader.read_with_offset()?;
            self.operator(&operator, offset, reader.original_position());
        }
        self.graph.settle(&mut self.sites);
        self.sites.sort_unstable();
        self.sites.dedup();
        Ok(&self.sites)
    }

    fn begin(&mut self, function: &Function<'_>) -> Result<(), wasmparser::Error> {
        self.graph.clear();
        self.stack.clear();
        self.frames.clear();
        self.sites.clear();
        self.history.lost.clear();
        self.history.now = 1;
        self.locals.clear();
        let ty = &self.types[function.ty as usize];
        let local = |ty, initial| Local { shape: shape(ty), any: None, initial, last: initial, set: 0 };
        self.locals.extend(ty.params().iter().map(|ty| local(*ty, Value::BITS)));
        for group in function.body.get_locals_reader()? {
            let (count, ty) = group?;
            self.locals.extend((0..count).map(|_| local(ty, Value::NUMBER)));
        }
        let ty = Signature { params: 0, param: None, ..self.signature(BlockType::FuncType(function.ty)) };
        self.open(Kind::Function, ty, None);
        Ok(())
    }

    fn operator(&mut self, operator: &Operator<'_>, offset: usize, end: usize) {
        use Operator::*;
        let here = Some(offset);
        match operator {
            Block { blockty } => {
                let ty = self.signature(*blockty);
                let label = self.label(ty.results, ty.result);
                self.open(Kind::Block, ty, label);
            }
            Loop { blockty } => self.enter_loop(*blockty, offset),
            If { blockty } => {
                self.pop();
                let ty = self.signature(*blockty);
                // Both arms take the parameters.
                self.see(ty.params, None);
                self.discard(ty.params);
                self.push(ty.params);
                let label = self.label(ty.results, ty.result);
                self.open(Kind::If, ty, label);
            }
            Else => self.otherwise(offset),
            End => self.close(offset),
            Br { relative_depth } => {
                self.branch(*relative_depth, here);
                self.die();
            }
            BrIf { relative_depth } => {
                self.pop();
                self.branch(*relative_depth, None);
            }
            BrTable { targets } => {
                self.pop();
                for target in targets.targets().flatten().chain([targets.default()]) {
                    self.branch(target, None);
                }
                self.die();
            }
            Return => {
                self.branch(self.frames.len() as u32 - 1, here);
                self.die();
            }
            Unreachable => self.die(),
            Call { function_index } => self.call(self.functions[*function_index as usize], here),
            CallIndirect { type_index, .. } => {
                self.pop();
                self.call(*type_index, None);
            }
            LocalGet { local_index } => self.get(*local_index, end),
            LocalSet { local_index } => {
                self.set(*local_index, offset);
                self.pop();
            }
            LocalTee { local_index } => self.set(*local_index, offset),
            Select | TypedSelect { .. } => {
                self.pop();
                let (other, one) = (self.pop(), self.pop());
                let either = self.graph.either(one, other);
                self.stack.push(either);
            }
            F32Abs | F64Abs => {
                let operand = self.pop();
                let value = self.graph.moved(operand, here);
                self.stack.push(value);
            }
            F32Neg | F64Neg => {
                let operand = self.pop();
                let value = self.graph.signed(operand, here);
                self.stack.push(value);
            }
            F32Copysign | F64Copysign => {
                // The sign of a NaN shows even if the other operand is a number.
                let sign = self.pop();
                self.graph.see(sign, here);
                let operand = self.pop();
                let value = self.graph.signed(operand, None);
                self.stack.push(value);
            }
            operator => self.plain(operator, here, end),
        }
    }

    /// An operator whose operands and results are always as many.
    fn plain(&mut self, operator: &Operator<'_>, here: Place, end: usize) {
        let Some((operands, results)) = arity(operator) else {
            unreachable!("{operator:?} is not among the features of modules, or is handled before");
        };
        if !is_blind(operator) {
            self.see(operands as usize, here);
        }
        self.discard(operands as usize);
        match arithmetic(operator) {
            Some(_) if self.is_dead() => self.push(1),
            Some(shape @ (Shape::F32 | Shape::F64)) => {
                let value = self.graph.arithmetic(shape, end);
                self.stack.push(value);
            }
            Some(shape) => {
                self.sites.push(Site { offset: end, shape });
                self.push(1);
            }
            None if is_number(operator) => self.stack.push(Value::NUMBER),
            None => self.push(results as usize),
        }
    }

    fn signature(&self, ty: BlockType) -> Signature {
        let only = |types: &[ValType]| if let [ty] = types { shape(*ty) } else { None };
        match ty {
            BlockType::Empty => Signature { params: 0, results: 0, param: None, result: None },
            BlockType::Type(ty) => Signature { params: 0, results: 1, param: None, result: shape(ty) },
            BlockType::FuncType(index) => {
                let ty = &self.types[index as usize];
                let (params, results) = (ty.params(), ty.results());
                Signature { params: params.len(), results: results.len(), param: only(params), result: only(results) }
            }
        }
    }

    /// What arrives at a label that takes `count` values.
    fn label(&mut self, count: usize, shape: Option<Shape>) -> Option<Value> {
        shape.filter(|_| count == 1).map(|shape| self.graph.variable(shape))
    }

    fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("a function's last operator closes its own frame")
    }

    fn is_dead(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.dead)
    }

    fn open(&mut self, kind: Kind, ty: Signature, label: Option<Value>) {
        let (outer_base, dead) = self.frames.last().map_or((0, false), |outer| (outer.base, outer.dead));
        let base = self.stack.len().saturating_sub(ty.params).max(outer_base);
        self.frames.push(Frame { kind, base, ty, label, opened: self.history.now, targeted: false, dead });
    }

    fn enter_loop(&mut self, ty: BlockType, offset: usize) {
        let ty = self.signature(ty);
        let label = self.label(ty.params, ty.param);
        self.hand_over(label, ty.params, Some(offset));
        self.discard(ty.params);
        self.arrive(label, ty.params);
        self.open(Kind::Loop, ty, label);
        self.history.lose(0);
    }

    fn otherwise(&mut self, offset: usize) {
        self.hand_over_results(offset);
        let outer_dead = self.frames.len() >= 2 && self.frames[self.frames.len() - 2].dead;
        let frame = self.frame();
        frame.kind = Kind::Else;
        frame.dead = outer_dead;
        let (base, opened, params) = (frame.base, frame.opened, frame.ty.params);
        self.stack.truncate(base);
        self.push(params);
        self.history.lose(opened);
    }

    fn close(&mut self, offset: usize) {
        self.hand_over_results(offset);
        let Some(frame) = self.frames.pop() else { return };
        if frame.kind == Kind::Loop && !frame.dead {
            // Nothing but the end of its body leads out of it.
            return;
        }
        if let (Kind::If, Some(label)) = (frame.kind, frame.label) {
            // Without an `else`, the parameter is the result.
            self.graph.take(label, Value::BITS, None);
        }
        self.stack.truncate(frame.base);
        let label = frame.label.filter(|_| frame.kind != Kind::Loop);
        self.arrive(label, frame.ty.results);
        if frame.targeted || matches!(frame.kind, Kind::If | Kind::Else) {
            self.history.lose(frame.opened);
        }
    }

    /// Notes that the end of an arm or a block is reached.
    fn hand_over_results(&mut self, offset: usize) {
        let frame = self.frame();
        let (label, results) = (frame.label, frame.ty.results);
        if frame.kind != Kind::Loop {
            self.hand_over(label, results, Some(offset));
        }
    }

    /// Notes a branch out of `depth` blocks. Function results are seen.
    fn branch(&mut self, depth: u32, place: Place) {
        let target = self.frames.len() - 1 - depth as usize;
        let frame = &mut self.frames[target];
        frame.targeted = true;
        let count = if frame.kind == Kind::Loop { frame.ty.params } else { frame.ty.results };
        let label = frame.label;
        self.hand_over(label, count, place);
    }

    /// Hands the `count` topmost operands over to a label.
    fn hand_over(&mut self, label: Option<Value>, count: usize, place: Place) {
        match label {
            Some(label) => {
                let value = self.peek(0);
                if !self.is_dead() {
                    self.graph.take(label, value, place);
                }
            }
            None => self.see(count, place),
        }
    }

    /// Pushes what arrives at a label that takes `count` values.
    fn arrive(&mut self, label: Option<Value>, count: usize) {
        match label {
            Some(label) => self.stack.push(label),
            None => self.push(count),
        }
    }

    /// Makes the code from here to the end of the block unreachable.
    fn die(&mut self) {
        let frame = self.frame();
        frame.dead = true;
        let base = frame.base;
        self.stack.truncate(base);
    }

    /// A call of a function of type `ty` whose last argument can be made canonical at `place`.
    fn call(&mut self, ty: u32, place: Place) {
        let ty = &self.types[ty as usize];
        let (params, results) = (ty.params().len(), ty.results().len());
        self.see(params, place);
        self.discard(params);
        self.push(results);
    }

    fn get(&mut self, index: u32, end: usize) {
        let local = &self.locals[index as usize];
        let value = match local.shape {
            None => Value::BITS,
            Some(_) if self.history.knows(local.set) => local.last,
            Some(shape) => self.any(index, shape),
        };
        let value = if self.is_dead() { Value::BITS } else { self.graph.moved(value, Some(end)) };
        self.stack.push(value);
    }

    fn set(&mut self, index: u32, offset: usize) {
        let Some(shape) = self.locals[index as usize].shape else { return };
        if self.is_dead() {
            return;
        }
        let any = self.any(index, shape);
        let operand = self.pop();
        let value = self.graph.moved(operand, Some(offset));
        self.graph.take(any, value, None);
        self.stack.push(value);
        let local = &mut self.locals[index as usize];
        local.last = value;
        local.set = self.history.now;
        self.history.now += 1;
    }

    /// Whatever a local is set to anywhere.
    fn any(&mut self, index: u32, shape: Shape) -> Value {
        let local = &mut self.locals[index as usize];
        *local.any.get_or_insert_with(|| {
            let any = self.graph.variable(shape);
            self.graph.take(any, local.initial, None);
            any
        })
    }

    /// Notes that the bits of the `count` topmost operands are seen. The topmost one can be made canonical at `place`.
    fn see(&mut self, count: usize, place: Place) {
        for depth in 0..count {
            let value = self.peek(depth);
            self.graph.see(value, place.filter(|_| depth == 0));
        }
    }

    /// Pushes values whose bits are fixed.
    fn push(&mut self, count: usize) {
        self.stack.resize(self.stack.len() + count, Value::BITS);
    }

    fn discard(&mut self, count: usize) {
        for _ in 0..count {
            self.pop();
        }
    }

    /// In unreachable code, operands may be there that nothing pushed.
    fn pop(&mut self) -> Value {
        let base = self.frame().base;
        if self.stack.len() > base { self.stack.pop().unwrap_or(Value::BITS) } else { Value::BITS }
    }

    /// The operand below the `depth` topmost ones.
    fn peek(&mut self, depth: usize) -> Value {
        let base = self.frame().base;
        let index = self.stack.len().checked_sub(depth + 1).filter(|index| *index >= base);
        index.map_or(Value::BITS, |index| self.stack[index])
    }
}

impl History {
    /// Forgets what was set since `opened`, because code that set it may have been passed by.
    fn lose(&mut self, opened: u32) {
        while self.lost.last().is_some_and(|(start, _)| *start >= opened) {
            self.lost.pop();
        }
        match self.lost.last_mut() {
            Some((_, end)) if *end >= opened => *end = self.now,
            _ => self.lost.push((opened, self.now)),
        }
    }

    /// Whether what was set at `time` is set still.
    fn knows(&self, time: u32) -> bool {
        let after = self.lost.partition_point(|(_, end)| *end <= time);
        self.lost.get(after).is_none_or(|(start, _)| time < *start)
    }
}

fn shape(ty: ValType) -> Option<Shape> {
    match ty {
        ValType::F32 => Some(Shape::F32),
        ValType::F64 => Some(Shape::F64),
        ValType::I32 | ValType::I64 | ValType::V128 | ValType::Ref(_) => None,
    }
}
