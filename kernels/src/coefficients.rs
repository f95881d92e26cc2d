//! The numbers in `KERNELS.md`, which says where they come from. Polynomials have their lowest coefficient first.

/// 1.5 × 2²³: added to a small `f32`, it rounds it to an integer, which is then in its low bits.
pub(crate) const ROUND: f32 = 12_582_912.0;
/// 1.5 × 2⁵², which does the same to an `f64`.
pub(crate) const ROUND_DOUBLE: f64 = 6_755_399_441_055_744.0;

pub(crate) const LOG2_E: f32 = f32::from_bits(0x3fb8_aa3b);
/// The upper bits of ln 2; its product with any exponent is exact.
pub(crate) const LN2_HIGH: f32 = f32::from_bits(0x3f31_7200);
/// ln 2, rounded.
pub(crate) const LN2: f32 = std::f32::consts::LN_2;
/// ln 2 - `LN2_HIGH`.
pub(crate) const LN2_LOW: f32 = f32::from_bits(0x35bf_be8e);

/// (eʳ - 1 - r) / r² for |r| <= ln 2 / 2.
pub(crate) const EXP: [f32; 5] = singles([0x3eff_fffe, 0x3e2a_aa49, 0x3d2a_ac48, 0x3c09_1a37, 0x3ab4_f835]);
/// The same in 2r, for the root of eʳ: exact multiples.
pub(crate) const EXP_OF_HALF: [f32; 5] = in_multiple(EXP, 0.5);
/// The same in -2r, for the root of e⁻ʳ: exact multiples.
pub(crate) const EXP_OF_MINUS_HALF: [f32; 5] = in_multiple(EXP, -0.5);
/// (2ʳ - 1) / r for |r| <= 1/2.
pub(crate) const EXP2: [f32; 6] =
    singles([0x3f31_7219, 0x3e75_fdf3, 0x3d63_56d4, 0x3c1d_90bd, 0x3aaf_e0f3, 0x3926_0cbe]);
/// (ln(1 + f) - f + f²/2) / f³ for √½ <= 1 + f <= √2.
pub(crate) const LOG: [f32; 8] =
    singles([0x3eaa_aaaa, 0xbe80_0114, 0x3e4c_d017, 0xbe2a_38c5, 0x3e11_6b92, 0xbe06_c7ba, 0x3e02_d091, 0xbd9c_b1f0]);
/// (2 artanh s - 2s) / s³ in s², for 0 <= s <= 1/3.
pub(crate) const LOG1P: [f32; 4] = singles([0x3f2a_aa81, 0x3ecc_e8e6, 0x3e8f_6020, 0x3e8f_650c]);
/// tanh(x) / x in x², for |x| <= 9: the numerator and the denominator.
pub(crate) const TANH_P: [f32; 5] = singles([0x3f80_0000, 0x3e09_058d, 0x3b65_1637, 0x37ac_e1a2, 0x3265_6e89]);
pub(crate) const TANH_Q: [f32; 5] = singles([0x3f80_0000, 0x3eef_2d6b, 0x3cd3_fbf4, 0x39ac_4305, 0x3550_c005]);
/// erf(t) / t - 1 in t², for 0 <= t <= 1.
pub(crate) const ERF_SMALL: [f32; 6] =
    singles([0x3e03_75d1, 0xbec0_9332, 0x3de7_0357, 0xbcda_c1de, 0x3ba0_d7f2, 0xba12_a947]);
/// log₂(1 - erf t) for 1 <= t <= 3.95.
pub(crate) const ERF_LARGE: [f32; 7] =
    singles([0xba01_2991, 0xbfd0_2246, 0xbf6b_af9f, 0xbe18_524c, 0x3d01_0bf9, 0xbb8b_58dd, 0x398c_f8f5]);
/// Φ(-t) exp(t²/2) for 0 <= t <= 14: the numerator and the denominator; Φ is the normal distribution.
pub(crate) const GELU_P: [f32; 5] = singles([0x3f00_0000, 0x3edf_df8e, 0x3e3a_d799, 0x3d25_5e1f, 0x3b85_9e05]);
pub(crate) const GELU_Q: [f32; 6] =
    singles([0x3f80_0000, 0x3fd6_10df, 0x3f99_8285, 0x3eef_534b, 0x3dcf_4586, 0x3c27_7659]);
/// -√(2/π) log₂ e.
pub(crate) const GELU_TANH_LINEAR: f64 = f64::from_bits(0xbff2_6aec_21bc_e759);
/// The same times 0.044715.
pub(crate) const GELU_TANH_CUBIC: f64 = f64::from_bits(0xbfaa_5a7c_f757_2a98);

/// (sin r - r) / r³ in r², for |r| <= π/4.
pub(crate) const SIN: [f32; 3] = singles([0xbe2a_aaa1, 0x3c08_8300, 0xb94c_6d46]);
/// (cos r - 1 + r²/2) / r⁴ in r², for |r| <= π/4.
pub(crate) const COS: [f32; 3] = singles([0x3d2a_aaa4, 0xbab6_057a, 0x37cc_c88e]);
pub(crate) const SIN_DOUBLE: [f64; 4] =
    doubles([0xbfc5_5555_54a7_3912, 0x3f81_1110_7004_bf2b, 0xbf2a_00e6_1ff9_78e6, 0x3ec6_c8f6_3adf_161e]);
pub(crate) const COS_DOUBLE: [f64; 4] =
    doubles([0x3fa5_5555_54d6_0164, 0xbf56_c16b_6a1b_8afd, 0x3efa_00fe_41c7_69f7, 0xbe92_3ec5_2619_06f2]);
pub(crate) const TWO_OVER_PI: f64 = std::f64::consts::FRAC_2_PI;
pub(crate) const HALF_PI_HIGH: f64 = std::f64::consts::FRAC_PI_2;
/// π/2 - `HALF_PI_HIGH`.
pub(crate) const HALF_PI_LOW: f64 = f64::from_bits(0x3c91_a626_3314_5c07);
/// Up to here sine and cosine reduce their argument in double precision: 2³⁰.
pub(crate) const LARGE_ANGLE: f32 = 1_073_741_824.0;
/// The first 256 bits of the fraction of 1/(2π), the highest first.
pub(crate) const TURNS: [u64; 4] =
    [0x28be_60db_9391_054a, 0x7f09_d5f4_7d4d_3770, 0x36d8_a566_4f10_e410, 0x7f94_58ea_f7ae_f158];

pub(crate) const LN2_DOUBLE: f64 = std::f64::consts::LN_2;
pub(crate) const LOG2_E_DOUBLE: f64 = std::f64::consts::LOG2_E;
/// (eʳ - 1 - r) / r² for |r| <= ln 2 / 2.
pub(crate) const EXP_DOUBLE: [f64; 7] = doubles([
    0x3fe0_0000_0091_ce96,
    0x3fc5_5555_5678_bbed,
    0x3fa5_5552_f88a_61a0,
    0x3f81_110c_58b5_cd2b,
    0x3f56_c64f_3c92_8d83,
    0x3f2a_152e_2280_b811,
    0x3ef4_432e_11e9_3f83,
]);
/// (2 artanh s - 2s) / s³ in s², for |s| <= (√2 - 1) / (√2 + 1).
pub(crate) const LOG_DOUBLE: [f64; 6] = doubles([
    0x3fe5_5555_5555_3967,
    0x3fd9_9999_9a29_3bc0,
    0x3fd2_4924_1770_fd5a,
    0x3fcc_7227_8afe_ea36,
    0x3fc7_32c0_adb4_7578,
    0x3fc5_8791_107f_0ced,
]);
/// (arctan w - w) / w³ in w², for 0 <= w <= 1.
pub(crate) const ATAN: [f64; 12] = doubles([
    0xbfd5_5555_5424_4ada,
    0x3fc9_9998_af47_4154,
    0xbfc2_490a_5b23_2c7e,
    0x3fbc_6efb_f581_ec1f,
    0xbfb7_2fcd_7069_a3fa,
    0x3fb3_4234_aa1f_b305,
    0xbfaf_2745_45e2_625d,
    0x3fa6_d53f_1624_ad2b,
    0xbf9b_9c99_3494_9048,
    0x3f88_aad0_bd23_2c8c,
    0xbf6c_0d79_f220_f129,
    0x3f3d_eb38_2cde_48fa,
]);
/// (arcsin w - w) / w³ in w², for 0 <= w <= 1/2.
pub(crate) const ASIN: [f64; 7] = doubles([
    0x3fc5_5555_5bef_f569,
    0x3fb3_332c_b5d5_9438,
    0x3fa6_dd50_e00e_64aa,
    0x3f9e_dd52_36a1_6116,
    0x3f99_08cd_adbf_e04c,
    0x3f80_43d3_5576_6511,
    0x3fa1_7f4e_df9e_6cc0,
]);

/// f(r) = `coefficients` times r² and more as coefficients of f(`factor` r), for a `factor` that is a power of two.
const fn in_multiple<const N: usize>(coefficients: [f32; N], factor: f32) -> [f32; N] {
    let mut values = coefficients;
    let mut power = factor * factor;
    let mut index = 0;
    while index < N {
        values[index] *= power;
        power *= factor;
        index += 1;
    }
    values
}

const fn singles<const N: usize>(bits: [u32; N]) -> [f32; N] {
    let mut values = [0.0; N];
    let mut index = 0;
    while index < N {
        values[index] = f32::from_bits(bits[index]);
        index += 1;
    }
    values
}

const fn doubles<const N: usize>(bits: [u64; N]) -> [f64; N] {
    let mut values = [0.0; N];
    let mut index = 0;
    while index < N {
        values[index] = f64::from_bits(bits[index]);
        index += 1;
    }
    values
}
