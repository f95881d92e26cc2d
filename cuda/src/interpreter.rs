//! For tests: an interpreter of those instructions of PTX that the kernels consist of. Any other is refused: what is fused, approximate, flushes
//! subnormal numbers or does not say how it rounds.
//!
//! Threads of a block take turns between barriers. Shared memory is watched: what one thread writes and another one uses without a
//! barrier between them is an error, as is memory that nobody has allocated.

use crate::{Address, CudaError, Kernels, Launch, PTX};
use std::collections::HashMap;
use std::ffi::c_void;

/// A module: its kernels by name.
pub struct Program(HashMap<String, Kernel>);

#[derive(Default)]
struct Kernel {
    instructions: Vec<Instruction>,
    registers: usize,
    parameters: usize,
    shared: usize,
    threads: u32,
}

struct Instruction {
    /// A register, and what it must hold for the instruction to be executed.
    guard: Option<(usize, bool)>,
    action: Action,
}

enum Action {
    Compute(fn([u64; 4]) -> u64, usize, [Operand; 4]),
    /// So many bytes for each register.
    Load(Space, usize, Vec<usize>, Operand, u64),
    Store(Space, usize, Vec<Operand>, Operand, u64),
    Branch(usize),
    Barrier,
    Return,
}

#[derive(Clone, Copy)]
enum Operand {
    Register(usize),
    Constant(u64),
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Space {
    Parameters,
    Global,
    Shared,
}

/// Registers that a thread begins with.
const GIVEN: [&str; 4] = ["%tid.x", "%ctaid.x", "%ctaid.y", "%ctaid.z"];

impl Program {
    /// Reads what NVRTC writes: one instruction in a line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut kernels = HashMap::new();
        let mut lines = text.lines().map(|line| line.split("//").next().unwrap_or_default().trim());
        let mut shared = Symbols::default();
        while let Some(line) = lines.next() {
            if let Some(name) = line.strip_prefix(".visible .entry ") {
                let name = name.trim_end_matches('(').to_owned();
                let body = lines.by_ref().take_while(|line| *line != "}").collect::<Vec<_>>();
                let kernel = kernel(&body, shared.clone()).map_err(|reason| format!("{name}: {reason}"))?;
                kernels.insert(name, kernel);
            } else if line.starts_with(".shared") {
                shared.add(line)?;
            }
        }
        Ok(Self(kernels))
    }

    /// The names of all kernels.
    pub fn kernels(&self) -> Vec<&str> {
        let mut names = self.0.keys().map(String::as_str).collect::<Vec<_>>();
        names.sort_unstable();
        names
    }

    /// Runs a kernel, block after block.
    pub fn run(&self, launch: &Launch, memory: &mut dyn Memory) -> Result<(), String> {
        let kernel = self.0.get(launch.kernel).ok_or_else(|| format!("no kernel {}", launch.kernel))?;
        if launch.threads != kernel.threads || launch.parameters.len() != kernel.parameters {
            return Err(format!("{} is launched with other threads or parameters than it has", launch.kernel));
        }
        let [x, y, z] = launch.grid;
        for block in (0..z).flat_map(|z| (0..y).flat_map(move |y| (0..x).map(move |x| [x, y, z]))) {
            Block::new(kernel, launch, block, memory).run().map_err(|reason| format!("{}: {reason}", launch.kernel))?;
        }
        Ok(())
    }
}

/// Names of parameters or shared arrays, and where they are.
#[derive(Clone, Default)]
struct Symbols {
    at: HashMap<String, u64>,
    size: usize,
}

impl Symbols {
    /// A declaration such as `.param .align 8 .b8 name[16]` or `.param .u64 name`.
    fn add(&mut self, declaration: &str) -> Result<(), String> {
        let declaration = declaration.trim_end_matches([',', ';', ')']);
        let words = declaration.split_whitespace().collect::<Vec<_>>();
        let unknown = || format!("a declaration that is not known: {declaration}");
        let (align, size, name) = match words[..] {
            [_, ".align", align, ".b8", array] => {
                let (name, size) = array.split_once('[').ok_or_else(unknown)?;
                let size = size.trim_end_matches(']').parse().map_err(|_| unknown())?;
                (align.parse().map_err(|_| unknown())?, size, name)
            }
            [_, ".u64", name] => (8, 8, name),
            [_, ".u32" | ".f32", name] => (4, 4, name),
            _ => return Err(unknown()),
        };
        let start = self.size.next_multiple_of(align);
        self.at.insert(name.to_owned(), start as u64);
        self.size = start + size;
        Ok(())
    }
}

fn kernel(body: &[&str], mut shared: Symbols) -> Result<Kernel, String> {
    let mut parameters = Symbols::default();
    let (mut labels, mut code, mut threads) = (HashMap::new(), Vec::new(), 0);
    for line in body {
        if let Some(label) = line.strip_suffix(':') {
            labels.insert(label, code.len());
        } else if line.starts_with(".param") {
            parameters.add(line)?;
        } else if line.starts_with(".shared") {
            shared.add(line)?;
        } else if let Some(sizes) = line.strip_prefix(".maxntid ") {
            threads = sizes.split(',').next().and_then(|size| size.parse().ok()).ok_or("no threads")?;
        } else if line.ends_with(';') && !line.starts_with(".reg") && !line.starts_with(".pragma") {
            code.push(line.trim_end_matches(';'));
        }
    }
    let registers = GIVEN.iter().enumerate().map(|(index, name)| ((*name).to_owned(), index)).collect();
    let symbols = parameters.at.into_iter().chain(shared.at).collect();
    let mut names = Names { registers, symbols, labels };
    let instructions = code.iter().map(|line| names.instruction(line)).collect::<Result<_, _>>()?;
    let registers = names.registers.len();
    Ok(Kernel { instructions, registers, parameters: parameters.size, shared: shared.size, threads })
}

/// What names mean within a kernel.
struct Names<'a> {
    registers: HashMap<String, usize>,
    symbols: HashMap<String, u64>,
    labels: HashMap<&'a str, usize>,
}

impl Names<'_> {
    fn register(&mut self, name: &str) -> Result<usize, String> {
        if !name.starts_with('%') {
            return Err(format!("{name} is no register"));
        }
        let next = self.registers.len();
        Ok(*self.registers.entry(name.to_owned()).or_insert(next))
    }

    fn operand(&mut self, text: &str) -> Result<Operand, String> {
        if text.starts_with('%') {
            return Ok(Operand::Register(self.register(text)?));
        }
        let float = text.strip_prefix("0f").or_else(|| text.strip_prefix("0d"));
        let constant = match (float, self.symbols.get(text)) {
            (Some(bits), _) => u64::from_str_radix(bits, 16).ok(),
            (None, Some(at)) => Some(*at),
            (None, None) => text.parse::<i64>().ok().map(i64::cast_unsigned),
        };
        constant.map(Operand::Constant).ok_or_else(|| format!("an operand that is not known: {text}"))
    }

    /// `[base+offset]`.
    fn address(&mut self, text: &str) -> Result<(Operand, u64), String> {
        let text = text.trim_start_matches('[').trim_end_matches(']');
        let (base, offset) = text.split_once('+').unwrap_or((text, "0"));
        let offset = offset.parse::<i64>().map_err(|_| format!("an address that is not known: {text}"))?;
        Ok((self.operand(base)?, offset.cast_unsigned()))
    }

    fn instruction(&mut self, line: &str) -> Result<Instruction, String> {
        let (guard, line) = match line.strip_prefix('@') {
            None => (None, line),
            Some(guarded) => {
                let (guard, line) = guarded.split_once(' ').ok_or("a guard and nothing else")?;
                let name = guard.trim_start_matches('!');
                (Some((self.register(name)?, name.len() == guard.len())), line.trim())
            }
        };
        let (name, operands) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let operands = operands.trim();
        let action = self.action(name, operands).map_err(|reason| format!("{reason} in {line}"))?;
        Ok(Instruction { guard, action })
    }

    fn action(&mut self, name: &str, operands: &str) -> Result<Action, String> {
        if let Some((access, rest)) = name.split_once('.').filter(|(access, _)| matches!(*access, "ld" | "st")) {
            return self.access(access, rest, operands);
        }
        match name {
            "bra" | "bra.uni" => {
                let target = self.labels.get(operands).ok_or("no such label")?;
                return Ok(Action::Branch(*target));
            }
            "bar.sync" if operands == "0" => return Ok(Action::Barrier),
            "ret" => return Ok(Action::Return),
            _ => {}
        }
        let (_, arity, compute) =
            COMPUTE.iter().find(|(known, ..)| *known == name).ok_or("an instruction that is not known")?;
        let mut operands = operands.split(',').map(str::trim);
        let into = self.register(operands.next().unwrap_or_default())?;
        let from = operands.map(|operand| self.operand(operand)).collect::<Result<Vec<_>, _>>()?;
        if from.len() != *arity {
            return Err("other operands than expected".to_owned());
        }
        let mut all = [Operand::Constant(0); 4];
        all[..from.len()].copy_from_slice(&from);
        Ok(Action::Compute(*compute, into, all))
    }

    fn access(&mut self, access: &str, rest: &str, operands: &str) -> Result<Action, String> {
        let (space, rest) = rest.split_once('.').ok_or("no space")?;
        let space = match space {
            "param" => Space::Parameters,
            "global" => Space::Global,
            "shared" => Space::Shared,
            _ => return Err("a space that is not known".to_owned()),
        };
        let element = rest.trim_start_matches("nc.").trim_start_matches("v2.").trim_start_matches("v4.");
        let size = match element {
            "f32" | "u32" => 4,
            "u64" => 8,
            _ => return Err("a type that is not known".to_owned()),
        };
        let (address, values) = match operands.split_once('[') {
            Some((values, address)) if access == "ld" => (address, values),
            _ => operands.split_once("],").ok_or("no address")?,
        };
        let (base, offset) = self.address(address)?;
        let values = values.split(',').map(|value| value.trim().trim_matches(['{', '}']).trim());
        let values = values.filter(|value| !value.is_empty()).collect::<Vec<_>>();
        if access == "ld" {
            let into = values.into_iter().map(|value| self.register(value)).collect::<Result<_, _>>()?;
            Ok(Action::Load(space, size, into, base, offset))
        } else {
            let from = values.into_iter().map(|value| self.operand(value)).collect::<Result<_, _>>()?;
            Ok(Action::Store(space, size, from, base, offset))
        }
    }
}

fn f(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn d(bits: u64) -> f64 {
    f64::from_bits(bits)
}

fn of(value: f32) -> u64 {
    u64::from(value.to_bits())
}

fn low(value: u64) -> u64 {
    value & 0xffff_ffff
}

fn signed(value: u64) -> i32 {
    (value as u32).cast_signed()
}

/// What computes: its name, how many operands it has, and what it makes of them. 32-bit values lie in the low half, and the upper
/// half is zero.
type Compute = (&'static str, usize, fn([u64; 4]) -> u64);

const COMPUTE: &[Compute] = &[
    ("add.rn.f32", 2, |[a, b, ..]| of(f(a) + f(b))),
    ("sub.rn.f32", 2, |[a, b, ..]| of(f(a) - f(b))),
    ("mul.rn.f32", 2, |[a, b, ..]| of(f(a) * f(b))),
    ("div.rn.f32", 2, |[a, b, ..]| of(f(a) / f(b))),
    ("fma.rn.f32", 3, |[a, b, c, _]| of(f(a).mul_add(f(b), f(c)))),
    ("sqrt.rn.f32", 1, |[a, ..]| of(f(a).sqrt())),
    ("add.rn.f64", 2, |[a, b, ..]| (d(a) + d(b)).to_bits()),
    ("sub.rn.f64", 2, |[a, b, ..]| (d(a) - d(b)).to_bits()),
    ("mul.rn.f64", 2, |[a, b, ..]| (d(a) * d(b)).to_bits()),
    ("fma.rn.f64", 3, |[a, b, c, _]| d(a).mul_add(d(b), d(c)).to_bits()),
    ("cvt.f64.f32", 1, |[a, ..]| f64::from(f(a)).to_bits()),
    ("cvt.rn.f32.f64", 1, |[a, ..]| of(d(a) as f32)),
    ("cvt.rn.f32.u32", 1, |[a, ..]| of(a as u32 as f32)),
    ("cvt.rzi.s32.f32", 1, |[a, ..]| u64::from((f(a) as i32).cast_unsigned())),
    ("cvt.rzi.s32.f64", 1, |[a, ..]| u64::from((d(a) as i32).cast_unsigned())),
    ("cvt.u32.u64", 1, |[a, ..]| low(a)),
    ("cvt.u64.u32", 1, |[a, ..]| low(a)),
    ("cvta.to.global.u64", 1, |[a, ..]| a),
    ("mov.b32", 1, |[a, ..]| low(a)),
    ("mov.f32", 1, |[a, ..]| low(a)),
    ("mov.u32", 1, |[a, ..]| low(a)),
    ("mov.b64", 1, |[a, ..]| a),
    ("mov.f64", 1, |[a, ..]| a),
    ("mov.u64", 1, |[a, ..]| a),
    ("add.s32", 2, |[a, b, ..]| low(a.wrapping_add(b))),
    ("add.s64", 2, |[a, b, ..]| a.wrapping_add(b)),
    ("sub.s32", 2, |[a, b, ..]| low(a.wrapping_sub(b))),
    ("sub.s64", 2, |[a, b, ..]| a.wrapping_sub(b)),
    ("mul.lo.s32", 2, |[a, b, ..]| low(a.wrapping_mul(b))),
    ("mul.lo.s64", 2, |[a, b, ..]| a.wrapping_mul(b)),
    ("mul.wide.u32", 2, |[a, b, ..]| low(a) * low(b)),
    ("mad.lo.s32", 3, |[a, b, c, _]| low(a.wrapping_mul(b).wrapping_add(c))),
    ("div.u32", 2, |[a, b, ..]| low(a) / low(b)),
    ("rem.u32", 2, |[a, b, ..]| low(a) % low(b)),
    ("max.u32", 2, |[a, b, ..]| low(a).max(low(b))),
    ("min.u32", 2, |[a, b, ..]| low(a).min(low(b))),
    ("and.b32", 2, |[a, b, ..]| low(a & b)),
    ("and.b64", 2, |[a, b, ..]| a & b),
    ("or.b32", 2, |[a, b, ..]| low(a | b)),
    ("xor.b32", 2, |[a, b, ..]| low(a ^ b)),
    ("not.b32", 1, |[a, ..]| low(!a)),
    ("shl.b32", 2, |[a, b, ..]| if low(b) < 32 { low(a << low(b)) } else { 0 }),
    ("shl.b64", 2, |[a, b, ..]| if low(b) < 64 { a << low(b) } else { 0 }),
    ("shr.u32", 2, |[a, b, ..]| if low(b) < 32 { low(a) >> low(b) } else { 0 }),
    ("shr.u64", 2, |[a, b, ..]| if low(b) < 64 { a >> low(b) } else { 0 }),
    ("shr.s32", 2, |[a, b, ..]| u64::from((signed(a) >> low(b).min(31)).cast_unsigned())),
    // The low `d` bits of a, at bit `c` of b.
    ("bfi.b32", 4, |[a, b, c, d]| {
        let mask = ((1u64 << d) - 1) << c;
        low(b & !mask | a << c & mask)
    }),
    ("selp.b32", 3, |[a, b, p, _]| low(if p == 1 { a } else { b })),
    ("selp.f32", 3, |[a, b, p, _]| low(if p == 1 { a } else { b })),
    ("and.pred", 2, |[a, b, ..]| a & b),
    ("or.pred", 2, |[a, b, ..]| a | b),
    ("not.pred", 1, |[a, ..]| a ^ 1),
    // Comparisons of floats are false if one is a NaN.
    ("setp.eq.f32", 2, |[a, b, ..]| u64::from(f(a) == f(b))),
    ("setp.lt.f32", 2, |[a, b, ..]| u64::from(f(a) < f(b))),
    ("setp.gt.f32", 2, |[a, b, ..]| u64::from(f(a) > f(b))),
    ("setp.le.f32", 2, |[a, b, ..]| u64::from(f(a) <= f(b))),
    ("setp.ge.f32", 2, |[a, b, ..]| u64::from(f(a) >= f(b))),
    ("setp.nan.f32", 2, |[a, b, ..]| u64::from(f(a).is_nan() || f(b).is_nan())),
    ("setp.eq.s32", 2, |[a, b, ..]| u64::from(low(a) == low(b))),
    ("setp.ne.s32", 2, |[a, b, ..]| u64::from(low(a) != low(b))),
    ("setp.lt.s32", 2, |[a, b, ..]| u64::from(signed(a) < signed(b))),
    ("setp.gt.s32", 2, |[a, b, ..]| u64::from(signed(a) > signed(b))),
    ("setp.lt.u32", 2, |[a, b, ..]| u64::from(low(a) < low(b))),
    ("setp.le.u32", 2, |[a, b, ..]| u64::from(low(a) <= low(b))),
    ("setp.gt.u32", 2, |[a, b, ..]| u64::from(low(a) > low(b))),
    ("setp.ge.u32", 2, |[a, b, ..]| u64::from(low(a) >= low(b))),
    ("setp.eq.s64", 2, |[a, b, ..]| u64::from(a == b)),
    ("setp.ne.s64", 2, |[a, b, ..]| u64::from(a != b)),
    ("setp.lt.u64", 2, |[a, b, ..]| u64::from(a < b)),
    ("setp.ge.u64", 2, |[a, b, ..]| u64::from(a >= b)),
];

/// What kernels read and write.
pub trait Memory {
    /// The word at an address.
    fn word(&mut self, address: Address) -> Result<&mut u32, String>;
}

/// Arrays with gaps between them.
#[derive(Default)]
pub struct Arrays(Vec<Option<u32>>);

impl Arrays {
    const START: usize = 0x1_0000;
    const GAP: usize = 64;

    /// A new array with these numbers.
    pub fn give(&mut self, numbers: &[f32]) -> Address {
        self.0.resize(self.0.len() + Self::GAP, None);
        let at = self.0.len();
        self.0.extend(numbers.iter().map(|number| Some(number.to_bits())));
        (Self::START + 4 * at) as Address
    }

    /// The numbers in an array.
    pub fn take(&self, address: Address, len: usize) -> Vec<f32> {
        let at = (address as usize - Self::START) / 4;
        self.0[at..at + len].iter().map(|word| f32::from_bits(word.unwrap_or_default())).collect()
    }
}

impl Memory for Arrays {
    fn word(&mut self, address: Address) -> Result<&mut u32, String> {
        let at = (address as usize).checked_sub(Self::START).filter(|at| at.is_multiple_of(4)).map(|at| at / 4);
        let word = at.and_then(|at| self.0.get_mut(at)).and_then(Option::as_mut);
        word.ok_or_else(|| format!("memory at {address:#x} is not allocated"))
    }
}

/// The memory of this process.
struct Own;

impl Memory for Own {
    fn word(&mut self, address: Address) -> Result<&mut u32, String> {
        // SAFETY: whoever launches a kernel promises that what it uses is valid.
        unsafe { (address as *mut u32).as_mut() }.ok_or_else(|| "nowhere is read or written".to_owned())
    }
}

/// Kernels that are interpreted, and work on this process's memory.
pub struct Interpreted(Program);

impl Interpreted {
    /// Reads the kernels.
    pub fn new() -> Result<Self, String> {
        Program::parse(PTX).map(Self)
    }
}

impl Kernels for Interpreted {
    unsafe fn launch(&self, launch: &Launch, _stream: *mut c_void) -> Result<(), CudaError> {
        self.0.run(launch, &mut Own).map_err(|reason| CudaError::Call { function: "the interpreter", reason })
    }
}

/// A word of shared memory, and who has used it since the last barrier.
#[derive(Clone, Copy, Default)]
struct Shared {
    bits: Option<u32>,
    written: (u32, usize),
    read: (u32, usize),
}

/// More than one thread.
const SEVERAL: usize = usize::MAX;

struct Block<'a> {
    kernel: &'a Kernel,
    parameters: &'a [u8],
    threads: Vec<Thread>,
    memory: &'a mut dyn Memory,
    shared: Vec<Shared>,
    /// Barriers so far, and one.
    epoch: u32,
}

struct Thread {
    registers: Vec<u64>,
    at: usize,
}

/// Why a thread does not go on.
#[derive(PartialEq, Clone, Copy)]
enum Stop {
    Barrier(usize),
    Ended,
}

impl<'a> Block<'a> {
    fn new(kernel: &'a Kernel, launch: &'a Launch, [x, y, z]: [u32; 3], memory: &'a mut dyn Memory) -> Self {
        let thread = |index| {
            let mut registers = vec![0; kernel.registers];
            registers[..4].copy_from_slice(&[index, x, y, z].map(u64::from));
            Thread { registers, at: 0 }
        };
        Self {
            kernel,
            parameters: &launch.parameters,
            threads: (0..launch.threads).map(thread).collect(),
            memory,
            shared: vec![Shared::default(); kernel.shared.div_ceil(4)],
            epoch: 1,
        }
    }

    fn run(mut self) -> Result<(), String> {
        loop {
            let stops = (0..self.threads.len()).map(|thread| self.until_stop(thread)).collect::<Result<Vec<_>, _>>()?;
            match stops[0] {
                _ if stops.iter().any(|stop| *stop != stops[0]) => {
                    return Err("threads wait at different barriers".to_owned());
                }
                Stop::Ended => return Ok(()),
                Stop::Barrier(_) => self.epoch += 1,
            }
        }
    }

    fn until_stop(&mut self, thread: usize) -> Result<Stop, String> {
        let kernel = self.kernel;
        loop {
            let Thread { registers, at } = &mut self.threads[thread];
            let Some(instruction) = kernel.instructions.get(*at) else { return Err("the end is missing".to_owned()) };
            *at += 1;
            if instruction.guard.is_some_and(|(register, holds)| (registers[register] == 1) != holds) {
                continue;
            }
            let value = |registers: &[u64], operand: Operand| match operand {
                Operand::Register(register) => registers[register],
                Operand::Constant(constant) => constant,
            };
            match &instruction.action {
                Action::Compute(compute, into, from) => {
                    registers[*into] = compute(from.map(|operand| value(registers, operand)));
                }
                Action::Branch(target) => *at = *target,
                Action::Barrier => return Ok(Stop::Barrier(*at)),
                Action::Return => return Ok(Stop::Ended),
                Action::Load(space, size, into, base, offset) => {
                    let address = value(registers, *base).wrapping_add(*offset);
                    for (index, into) in into.iter().enumerate() {
                        let loaded = self.load(thread, *space, *size, address + (index * size) as u64)?;
                        self.threads[thread].registers[*into] = loaded;
                    }
                }
                Action::Store(space, size, from, base, offset) => {
                    if *size != 4 || from.len() != 1 {
                        return Err("it stores more than a word".to_owned());
                    }
                    let (address, word) = (value(registers, *base).wrapping_add(*offset), value(registers, from[0]));
                    self.store(thread, *space, address, word as u32)?;
                }
            }
        }
    }

    fn load(&mut self, thread: usize, space: Space, size: usize, address: u64) -> Result<u64, String> {
        match space {
            Space::Parameters => {
                let at = address as usize;
                let bytes = self.parameters.get(at..at + size).ok_or("a parameter that there is not")?;
                Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
            }
            _ if size != 4 => Err("it loads more than a word".to_owned()),
            Space::Global => self.memory.word(address).map(|word| u64::from(*word)),
            Space::Shared => {
                let word = self.shared.get_mut(address as usize / 4).ok_or("beyond shared memory")?;
                if word.written.0 == self.epoch && word.written.1 != thread {
                    return Err("a thread reads what another one writes, without a barrier".to_owned());
                }
                let others = word.read.0 == self.epoch && word.read.1 != thread;
                word.read = (self.epoch, if others { SEVERAL } else { thread });
                Ok(u64::from(word.bits.ok_or("it reads shared memory that nobody wrote")?))
            }
        }
    }

    fn store(&mut self, thread: usize, space: Space, address: u64, bits: u32) -> Result<(), String> {
        match space {
            Space::Parameters => return Err("it stores to a parameter".to_owned()),
            Space::Global => *self.memory.word(address)? = bits,
            Space::Shared => {
                let word = self.shared.get_mut(address as usize / 4).ok_or("beyond shared memory")?;
                let used = |(epoch, user): (u32, usize)| epoch == self.epoch && user != thread;
                if used(word.written) || used(word.read) {
                    return Err("a thread writes what another one uses, without a barrier".to_owned());
                }
                *word = Shared { bits: Some(bits), written: (self.epoch, thread), ..*word };
            }
        }
        Ok(())
    }
}
