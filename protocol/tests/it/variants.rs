//! Other encodings of the same CBOR, and CBOR that is off by one element: what a decoder has to refuse.

/// The CBOR that the protocol uses.
enum Item {
    Uint(u64),
    Bytes(Vec<u8>),
    Text(Vec<u8>),
    Array(Vec<Item>),
    Null,
}

/// What is done to one item.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Change {
    /// The head's number in 1, 2, 4 or 8 bytes where fewer do.
    Head(u8),
    /// Indefinite length, in one chunk.
    Indefinite,
    /// A tag around it.
    Tag,
    /// A negative integer for a positive one, a text for bytes and the reverse, false for null.
    Kind,
    /// A float for an integer, a map for an array.
    Foreign,
    /// A number for null.
    Number,
    /// A head that is reserved, undefined for null.
    Reserved,
    /// One more element: false, which no list holds.
    ExtraFalse,
    /// One more element: null.
    ExtraNull,
    /// The last element left out.
    Shorter,
    /// The first two elements swapped.
    Swapped,
    /// A declared length or number that the bytes cannot hold.
    Huge(u64),
}

impl Change {
    /// Whether the outcome can be a valid encoding of another value: a shorter or reordered list, another number, or one
    /// where there was none.
    pub(crate) fn may_be_another_value(self) -> bool {
        matches!(self, Self::Number | Self::Shorter | Self::Swapped | Self::Huge(_))
    }
}

pub(crate) const CHANGES: [Change; 17] = [
    Change::Head(1),
    Change::Head(2),
    Change::Head(4),
    Change::Head(8),
    Change::Indefinite,
    Change::Tag,
    Change::Kind,
    Change::Foreign,
    Change::Number,
    Change::Reserved,
    Change::ExtraFalse,
    Change::ExtraNull,
    Change::Shorter,
    Change::Swapped,
    Change::Huge(1 << 20),
    Change::Huge(1 << 32),
    Change::Huge(u64::MAX),
];

/// Every applicable change of every item of a canonical encoding.
pub(crate) fn of(bytes: &[u8]) -> Vec<(Change, Vec<u8>)> {
    let mut rest = bytes;
    let item = parse(&mut rest);
    assert!(rest.is_empty(), "one item");
    assert_eq!(Writer::default().unchanged(&item), bytes, "this module reads and writes what the crate does");
    let mut variants = Vec::new();
    for change in CHANGES {
        for target in 0..count(&item) {
            let mut writer = Writer { target: Some((target, change)), ..Writer::default() };
            writer.write(&item);
            if writer.applied {
                assert_ne!(writer.out, bytes, "{change:?}");
                variants.push((change, writer.out));
            }
        }
    }
    variants
}

fn count(item: &Item) -> usize {
    match item {
        Item::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        _ => 1,
    }
}

fn parse(rest: &mut &[u8]) -> Item {
    let head = take(rest, 1)[0];
    if head == 0xf6 {
        return Item::Null;
    }
    let number = match head & 31 {
        small @ 0..24 => u64::from(small),
        info @ 24..28 => take(rest, 1 << (info - 24)).iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
        info => panic!("head {info}"),
    };
    match head >> 5 {
        0 => Item::Uint(number),
        2 => Item::Bytes(take(rest, number as usize).to_vec()),
        3 => Item::Text(take(rest, number as usize).to_vec()),
        4 => Item::Array((0..number).map(|_| parse(rest)).collect()),
        major => panic!("major type {major}"),
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(len);
    *rest = left;
    taken
}

#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    position: usize,
    target: Option<(usize, Change)>,
    applied: bool,
}

impl Writer {
    fn unchanged(mut self, item: &Item) -> Vec<u8> {
        self.write(item);
        self.out
    }

    fn write(&mut self, item: &Item) {
        let change = self.target.filter(|(target, _)| *target == self.position).map(|(_, change)| change);
        self.position += 1;
        let before = self.out.len();
        self.applied |= change.is_some();
        match (item, change) {
            (_, Some(Change::Tag)) => {
                self.out.push(0xc6);
                self.body(item);
            }
            (Item::Uint(number), Some(Change::Kind)) => self.head(1, *number, 0),
            (Item::Bytes(bytes), Some(Change::Kind)) => self.string(3, bytes),
            (Item::Text(text), Some(Change::Kind)) => self.string(2, text),
            (Item::Null, Some(Change::Kind)) => self.out.push(0xf4),
            (Item::Null, Some(Change::Reserved)) => self.out.push(0xf7),
            (Item::Uint(number), Some(Change::Foreign)) => {
                self.out.push(0xfb);
                self.out.extend((*number as f64).to_be_bytes());
            }
            (Item::Array(items), Some(Change::Foreign)) => {
                self.head(5, items.len() as u64, 0);
                for (key, item) in (0..).zip(items) {
                    self.head(0, key, 0);
                    self.write(item);
                }
            }
            (Item::Null, Some(Change::Number)) => self.out.push(0),
            (Item::Bytes(bytes) | Item::Text(bytes), Some(Change::Indefinite)) => {
                let major = if matches!(item, Item::Bytes(_)) { 2 } else { 3 };
                self.out.push(major << 5 | 31);
                self.string(major, bytes);
                self.out.push(0xff);
            }
            (Item::Array(items), Some(Change::Indefinite)) => {
                self.out.push(0x9f);
                items.iter().for_each(|item| self.write(item));
                self.out.push(0xff);
            }
            (Item::Array(items), Some(Change::ExtraFalse | Change::ExtraNull)) => {
                self.head(4, items.len() as u64 + 1, 0);
                items.iter().for_each(|item| self.write(item));
                self.out.push(if change == Some(Change::ExtraFalse) { 0xf4 } else { 0xf6 });
            }
            (Item::Array(items), Some(Change::Shorter)) if !items.is_empty() => {
                self.head(4, items.len() as u64 - 1, 0);
                items[..items.len() - 1].iter().for_each(|item| self.write(item));
            }
            (Item::Array(items), Some(Change::Swapped)) if items.len() > 1 => {
                let first = self.rendered(&items[0]);
                let second = self.rendered(&items[1]);
                self.applied = first != second;
                self.head(4, items.len() as u64, 0);
                self.out.extend([second, first].concat());
                items[2..].iter().for_each(|item| self.write(item));
            }
            (Item::Null, Some(_)) => self.applied = false,
            (_, Some(Change::Head(width))) => self.applied = self.widened(item, width),
            (_, Some(Change::Huge(number))) => self.applied = self.huge(item, number),
            (_, Some(Change::Reserved)) => {
                self.body(item);
                self.out[before] |= 0x1c;
                self.out[before] &= 0xfc;
            }
            (_, None) => self.body(item),
            (_, Some(_)) => self.applied = false,
        }
    }

    fn rendered(&self, item: &Item) -> Vec<u8> {
        Self::default().unchanged(item)
    }

    fn body(&mut self, item: &Item) {
        match item {
            Item::Uint(number) => self.head(0, *number, 0),
            Item::Bytes(bytes) => self.string(2, bytes),
            Item::Text(text) => self.string(3, text),
            Item::Array(items) => {
                self.head(4, items.len() as u64, 0);
                items.iter().for_each(|item| self.write(item));
            }
            Item::Null => self.out.push(0xf6),
        }
    }

    fn string(&mut self, major: u8, bytes: &[u8]) {
        self.head(major, bytes.len() as u64, 0);
        self.out.extend(bytes);
    }

    /// The same item with its head's number in `width` bytes, unless that is its shortest form or too narrow.
    fn widened(&mut self, item: &Item, width: u8) -> bool {
        let (major, number, content) = self.parts(item);
        let start = self.out.len();
        self.head(major, number, width);
        let changed = self.out[start..] != self.short_head(major, number)[..];
        self.out.extend(content);
        changed
    }

    /// The same item with another number in its head.
    fn huge(&mut self, item: &Item, number: u64) -> bool {
        let (major, own, content) = self.parts(item);
        self.head(major, number, 0);
        self.out.extend(content);
        own != number
    }

    /// Major type, number in the head, and what follows the head.
    fn parts(&self, item: &Item) -> (u8, u64, Vec<u8>) {
        match item {
            Item::Uint(number) => (0, *number, vec![]),
            Item::Bytes(bytes) => (2, bytes.len() as u64, bytes.clone()),
            Item::Text(text) => (3, text.len() as u64, text.clone()),
            Item::Array(items) => (4, items.len() as u64, items.iter().flat_map(|item| self.rendered(item)).collect()),
            Item::Null => (7, 22, vec![]),
        }
    }

    fn short_head(&self, major: u8, number: u64) -> Vec<u8> {
        let mut writer = Self::default();
        writer.head(major, number, 0);
        writer.out
    }

    /// A head with its number in the fewest bytes, but not fewer than `width`.
    fn head(&mut self, major: u8, number: u64, width: u8) {
        let bytes = number.to_be_bytes();
        let shortest = match number {
            0..24 => 0,
            24..0x100 => 1,
            0x100..0x1_0000 => 2,
            0x1_0000..0x1_0000_0000 => 4,
            _ => 8,
        };
        match shortest.max(width) {
            0 => self.out.push(major << 5 | number as u8),
            width => {
                self.out.push(major << 5 | (24 + width.ilog2() as u8));
                self.out.extend(&bytes[8 - usize::from(width)..]);
            }
        }
    }
}
