//! Two vectors as one. Their operations alternate, so that the processor always has one that does not wait for the other: formulas are
//! chains, of which it does not look far enough ahead to find the next.

use crate::bits::Bits;
use crate::doubles::Doubles;
use crate::lanes::Lanes;
use crate::vector::Vector;

/// The lower lanes and the upper.
#[derive(Clone, Copy)]
pub(crate) struct Two<V>(pub(crate) V, pub(crate) V);

/// Operations that are those of both.
macro_rules! both {
    ($($operation:ident($($operand:ident),*);)*) => {
        $(
            #[inline(always)]
            unsafe fn $operation(self, $($operand: Self),*) -> Self {
                unsafe { Two(self.0.$operation($($operand.0),*), self.1.$operation($($operand.1),*)) }
            }
        )*
    };
}

/// Shifts of both.
macro_rules! shifts {
    () => {
        #[inline(always)]
        unsafe fn shift_left(self, count: u32) -> Self {
            unsafe { Two(self.0.shift_left(count), self.1.shift_left(count)) }
        }
        #[inline(always)]
        unsafe fn shift_right(self, count: u32) -> Self {
            unsafe { Two(self.0.shift_right(count), self.1.shift_right(count)) }
        }
    };
}

impl<V: Vector> Vector for Two<V> {
    type Number = V::Number;
    const LANES: usize = 2 * V::LANES;

    #[inline(always)]
    unsafe fn load(from: *const V::Number) -> Self {
        unsafe { Two(V::load(from), V::load(from.add(V::LANES))) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut V::Number) {
        unsafe {
            self.0.store(to);
            self.1.store(to.add(V::LANES));
        }
    }
    #[inline(always)]
    unsafe fn splat(value: V::Number) -> Self {
        unsafe { Two(V::splat(value), V::splat(value)) }
    }
    both! {
        add(other);
        sub(other);
        mul(other);
        div(other);
        sqrt();
        fma(factor, sum);
        max(other);
        min(other);
        select_greater(other, then, otherwise);
    }
}

impl<L: Lanes> Lanes for Two<L> {
    both! {
        abs();
        copysign(sign);
        in_order();
    }
    #[inline(always)]
    unsafe fn even_odd(self, next: Self) -> [Self; 2] {
        unsafe {
            let ([even, odd], [next_even, next_odd]) = (self.0.even_odd(self.1), next.0.even_odd(next.1));
            [Two(even, next_even), Two(odd, next_odd)]
        }
    }
}

impl<L: Lanes> Bits for Two<L> {
    type Doubles = Two<L::Doubles>;
    type Block = L::Block;

    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        unsafe {
            match count.checked_sub(L::LANES) {
                None => Two(L::load_first(from, count), L::splat(0.0)),
                Some(count) => Two(L::load(from), L::load_first(from.add(L::LANES), count)),
            }
        }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        unsafe {
            match count.checked_sub(L::LANES) {
                None => self.0.store_first(to, count),
                Some(count) => {
                    self.0.store(to);
                    self.1.store_first(to.add(L::LANES), count);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn first_or(self, count: usize, others: Self) -> Self {
        unsafe {
            match count.checked_sub(L::LANES) {
                None => Two(self.0.first_or(count, others.0), others.1),
                Some(count) => Two(self.0, self.1.first_or(count, others.1)),
            }
        }
    }

    both! {
        and(other);
        or(other);
        xor(other);
        add_integer(other);
        sub_integer(other);
        select_equal(other, then, otherwise);
        select_nan(then, otherwise);
    }
    shifts! {}

    #[inline(always)]
    unsafe fn any_greater_integer(self, other: Self) -> bool {
        unsafe { self.0.any_greater_integer(other.0) | self.1.any_greater_integer(other.1) }
    }
    #[inline(always)]
    unsafe fn widen(self) -> Self::Doubles {
        unsafe { Two(self.0.widen(), self.1.widen()) }
    }
    #[inline(always)]
    unsafe fn narrow(doubles: Self::Doubles) -> Self {
        unsafe { Two(L::narrow(doubles.0), L::narrow(doubles.1)) }
    }
    #[inline(always)]
    unsafe fn low_words(doubles: Self::Doubles) -> Self {
        unsafe { Two(L::low_words(doubles.0), L::low_words(doubles.1)) }
    }
}

impl<D: Doubles> Doubles for Two<D> {
    both! {
        and(other);
        or(other);
        add_integer(other);
    }
    shifts! {}
}
