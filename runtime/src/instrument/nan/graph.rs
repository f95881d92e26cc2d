//! Which NaNs come from where, and which of them are seen.

use super::{Shape, Site};

/// A value of the function, or a variable that holds several in turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Value(u32);

impl Value {
    /// Not a NaN, or not a float.
    pub(super) const NUMBER: Self = Self(0);
    /// Its bits were fixed outside of arithmetic, and stay as they are.
    pub(super) const BITS: Self = Self(1);

    fn index(self) -> usize {
        self.0 as usize
    }

    fn is_node(self) -> bool {
        self.0 > Self::BITS.0
    }
}

/// A position in the module at which a value is the topmost operand, so that it can be made canonical.
pub(super) type Place = Option<usize>;

struct Node {
    shape: Shape,
    /// Behind the arithmetic operator that gives the value, if one does.
    arithmetic: Place,
    /// The values that it takes over, and those that take it over: first edges of lists.
    sources: Option<u32>,
    heirs: Option<u32>,
    /// It may be a NaN that arithmetic made and that is not canonical.
    raw: bool,
    /// It may be another NaN that must stay as it is.
    bits: bool,
    /// Its bits are seen where it cannot be made canonical any more.
    seen: bool,
    /// It is made canonical, or its sources are, before it is there.
    eager: bool,
}

struct Edge {
    from: Value,
    to: Value,
    /// Where `from` can be made canonical before `to` takes it over.
    place: Place,
    next_source: Option<u32>,
    next_heir: Option<u32>,
}

/// The values of one function. A value that is [`Value::NUMBER`] or [`Value::BITS`] needs no node.
#[derive(Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// Values whose bits are seen, and where: offsets at which they can be made canonical for that.
    seen: Vec<(Value, usize)>,
    work: Vec<Value>,
}

impl Graph {
    /// Forgets everything. What was allocated is kept.
    pub(super) fn clear(&mut self) {
        self.nodes.clear();
        self.edges.clear();
        self.seen.clear();
        for _ in [Value::NUMBER, Value::BITS] {
            self.node(Shape::F64, None);
        }
    }

    /// The result of an arithmetic operator that ends at `end`.
    pub(super) fn arithmetic(&mut self, shape: Shape, end: usize) -> Value {
        self.node(shape, Some(end))
    }

    /// A value that takes over others.
    pub(super) fn variable(&mut self, shape: Shape) -> Value {
        self.node(shape, None)
    }

    /// A value that takes over `source`, which can be made canonical at `place`.
    pub(super) fn moved(&mut self, source: Value, place: Place) -> Value {
        if !source.is_node() {
            return source;
        }
        let value = self.node(self.nodes[source.index()].shape, None);
        self.take(value, source, place);
        value
    }

    /// `source` with another sign. Unless it is a number, its bits cannot be changed any more.
    pub(super) fn signed(&mut self, source: Value, place: Place) -> Value {
        let value = self.moved(source, place);
        if value.is_node() {
            self.nodes[value.index()].bits = true;
        }
        value
    }

    /// One of two values.
    pub(super) fn either(&mut self, one: Value, other: Value) -> Value {
        let value = match (one.is_node(), other.is_node()) {
            (true, _) => self.variable(self.nodes[one.index()].shape),
            (_, true) => self.variable(self.nodes[other.index()].shape),
            _ if one == other => return one,
            _ => return Value::BITS,
        };
        self.take(value, one, None);
        self.take(value, other, None);
        value
    }

    /// Notes that `value` takes over `source`, which can be made canonical at `place`.
    pub(super) fn take(&mut self, value: Value, source: Value, place: Place) {
        if source == Value::BITS {
            self.nodes[value.index()].bits = true;
        } else if source.is_node() {
            let edge = Some(self.edges.len() as u32);
            let next_source = std::mem::replace(&mut self.nodes[value.index()].sources, edge);
            let next_heir = std::mem::replace(&mut self.nodes[source.index()].heirs, edge);
            self.edges.push(Edge { from: source, to: value, place, next_source, next_heir });
        }
    }

    /// Notes that the bits of `value` are seen, and that it can be made canonical at `place` for that.
    pub(super) fn see(&mut self, value: Value, place: Place) {
        match place {
            _ if !value.is_node() => {}
            Some(offset) => self.seen.push((value, offset)),
            // No list: a branch may see hundreds of values in two bytes of code.
            None => self.nodes[value.index()].seen = true,
        }
    }

    /// Adds to `sites` where to make what canonical.
    pub(super) fn settle(&mut self, sites: &mut Vec<Site>) {
        self.spread_bits();
        self.spread_raw();
        for index in 0..self.seen.len() {
            let (value, _) = self.seen[index];
            self.nodes[value.index()].seen |= self.nodes[value.index()].bits;
        }
        for value in (0..self.nodes.len() as u32).map(Value) {
            let node = &self.nodes[value.index()];
            if node.raw && node.seen {
                self.demand(value);
            }
        }
        // What is made canonical early need not be made so again.
        self.spread_raw();
        self.collect(sites);
    }

    fn node(&mut self, shape: Shape, arithmetic: Place) -> Value {
        let value = Value(self.nodes.len() as u32);
        let node =
            Node { shape, arithmetic, sources: None, heirs: None, raw: false, bits: false, seen: false, eager: false };
        self.nodes.push(node);
        value
    }

    fn spread_bits(&mut self) {
        self.work.extend((0..self.nodes.len() as u32).map(Value).filter(|value| self.nodes[value.index()].bits));
        while let Some(value) = self.work.pop() {
            let mut next = self.nodes[value.index()].heirs;
            while let Some(edge) = next {
                let edge = &self.edges[edge as usize];
                next = edge.next_heir;
                if !std::mem::replace(&mut self.nodes[edge.to.index()].bits, true) {
                    self.work.push(edge.to);
                }
            }
        }
    }

    /// Finds out which values may be raw, given which are made canonical early.
    fn spread_raw(&mut self) {
        for (index, node) in self.nodes.iter_mut().enumerate() {
            node.raw = node.arithmetic.is_some() && !node.eager;
            if node.raw {
                self.work.push(Value(index as u32));
            }
        }
        while let Some(value) = self.work.pop() {
            let mut next = self.nodes[value.index()].heirs;
            while let Some(edge) = next {
                let edge = &self.edges[edge as usize];
                next = edge.next_heir;
                let node = &mut self.nodes[edge.to.index()];
                if !node.raw && !node.eager {
                    node.raw = true;
                    self.work.push(edge.to);
                }
            }
        }
    }

    /// Sees to it that `value` is never raw: what it takes over is made canonical on the way, or, where that would lose bits or
    /// cannot be, is not raw either.
    fn demand(&mut self, value: Value) {
        if !std::mem::replace(&mut self.nodes[value.index()].eager, true) {
            self.work.push(value);
        }
        while let Some(value) = self.work.pop() {
            let mut next = self.nodes[value.index()].sources;
            while let Some(edge) = next {
                let edge = &self.edges[edge as usize];
                next = edge.next_source;
                let source = &mut self.nodes[edge.from.index()];
                let on_the_way = edge.place.is_some() && !source.bits;
                if source.raw && !on_the_way && !std::mem::replace(&mut source.eager, true) {
                    self.work.push(edge.from);
                }
            }
        }
    }

    fn collect(&self, sites: &mut Vec<Site>) {
        let mut add = |place: Place, node: &Node| {
            sites.extend(place.map(|offset| Site { offset, shape: node.shape }));
        };
        for node in self.nodes.iter().filter(|node| node.eager) {
            add(node.arithmetic, node);
        }
        for edge in &self.edges {
            let source = &self.nodes[edge.from.index()];
            if source.raw && self.nodes[edge.to.index()].eager {
                add(edge.place, source);
            }
        }
        for &(value, offset) in &self.seen {
            let node = &self.nodes[value.index()];
            if node.raw {
                add(Some(offset), node);
            }
        }
    }
}
