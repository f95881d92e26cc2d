;; Fills memory with what a chain of integer and float operations gives, in an order that depends on it, and writes 4 KiB of that.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $state (mut i64) (i64.const 0x2545f4914f6cdd1d))

  ;; Marsaglia's xorshift64.
  (func $next (result i64)
    (global.set $state (i64.xor (global.get $state) (i64.shl (global.get $state) (i64.const 13))))
    (global.set $state (i64.xor (global.get $state) (i64.shr_u (global.get $state) (i64.const 7))))
    (global.set $state (i64.xor (global.get $state) (i64.shl (global.get $state) (i64.const 17))))
    (global.get $state))

  ;; Of any bits: infinities, subnormal numbers and NaNs included.
  (func $float (param $a f64) (param $b f64) (result i64)
    (i64.reinterpret_f64
      (f64.add
        (f64.sqrt (f64.mul (local.get $a) (local.get $b)))
        (f64.add
          (f64.div (local.get $a) (local.get $b))
          (f64.promote_f32 (f32.nearest (f32.demote_f64 (f64.sub (local.get $a) (local.get $b)))))))))

  (func $integer (param $a i64) (param $b i64) (result i64)
    (i64.add
      (i64.mul (local.get $a) (i64.rotl (local.get $b) (local.get $a)))
      (i64.add
        (i64.rem_u (local.get $a) (i64.or (local.get $b) (i64.const 1)))
        (i64.add (i64.popcnt (local.get $a)) (i64.clz (local.get $b))))))

  (func (export "_start") (local $left i32) (local $at i32) (local $value i64)
    (drop (memory.grow (i32.const 1)))
    (local.set $left (i32.const 200000))
    (loop $again
      ;; Somewhere in the first 4 KiB, or the same place of the page that was grown.
      (local.set $at (i32.add
        (i32.and (i32.wrap_i64 (call $next)) (i32.const 0xff8))
        (i32.mul (i32.and (local.get $left) (i32.const 1)) (i32.const 65536))))
      (local.set $value (i64.load (i32.xor (local.get $at) (i32.const 65536))))
      (local.set $value (i64.xor
        (call $float (f64.reinterpret_i64 (call $next)) (f64.reinterpret_i64 (local.get $value)))
        (call $integer (call $next) (local.get $value))))
      (i64.store (local.get $at) (i64.xor (i64.load (local.get $at)) (local.get $value)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $again (local.get $left)))
    (i32.store (i32.const 8192) (i32.const 0))
    (i32.store (i32.const 8196) (i32.const 4096))
    (drop (call $write (i32.const 1) (i32.const 8192) (i32.const 1) (i32.const 8200)))))
