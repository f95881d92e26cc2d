//! A bytecode interpreter that counts primes below 150,000: one dispatch after another.

use std::hint::black_box;

#[derive(Clone, Copy)]
enum Instruction {
    /// Register, constant.
    Load(u8, u64),
    /// Target, and two sources.
    Add(u8, u8, u8),
    Multiply(u8, u8, u8),
    Remainder(u8, u8, u8),
    /// To the given place if the first register is below the second.
    JumpIfBelow(u8, u8, u16),
    JumpIfZero(u8, u16),
    Jump(u16),
    Halt,
}

use Instruction::*;

/// Registers: 0 candidate, 1 divisor, 2 count, 3 bound, 4 one, 5 scratch.
const PROGRAM: [Instruction; 15] = [
    Load(0, 2),
    Load(2, 0),
    Load(3, 150_000),
    Load(4, 1),
    Load(1, 2),        // 4: the next candidate
    Multiply(5, 1, 1), // 5: the next divisor
    JumpIfBelow(0, 5, 11),
    Remainder(5, 0, 1),
    JumpIfZero(5, 12),
    Add(1, 1, 4),
    Jump(5),
    Add(2, 2, 4), // 11: a prime
    Add(0, 0, 4), // 12: done with this candidate
    JumpIfBelow(0, 3, 4),
    Halt,
];

fn run(program: &[Instruction]) -> [u64; 8] {
    let mut registers = [0u64; 8];
    let mut at = 0;
    loop {
        let instruction = program[at];
        at += 1;
        let value = |register: u8| registers[usize::from(register & 7)];
        match instruction {
            Load(target, constant) => registers[usize::from(target & 7)] = constant,
            Add(target, a, b) => registers[usize::from(target & 7)] = value(a).wrapping_add(value(b)),
            Multiply(target, a, b) => registers[usize::from(target & 7)] = value(a).wrapping_mul(value(b)),
            Remainder(target, a, b) => registers[usize::from(target & 7)] = value(a) % value(b),
            JumpIfBelow(a, b, place) if value(a) < value(b) => at = usize::from(place),
            JumpIfZero(a, place) if value(a) == 0 => at = usize::from(place),
            JumpIfBelow(..) | JumpIfZero(..) => {}
            Jump(place) => at = usize::from(place),
            Halt => return registers,
        }
    }
}

fn main() {
    println!("{}", run(black_box(&PROGRAM))[2]);
}
