//! A key under a passphrase: the file that keeps it, and how it is opened.
//!
//! The file is TOML and says how the passphrase was stretched (Argon2id, RFC 9106) and how the key was encrypted with what came of it
//! (XChaCha20-Poly1305). All that it says is authenticated with the key.

use anyhow::{Context, Result, bail, ensure};
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use depx_protocol::SecretKey;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// A passphrase. Never shown.
pub(crate) struct Passphrase(String);

/// Bytes of a passphrase; the lower bound is there to notice an empty file, not to judge.
const LENGTH: RangeInclusive<usize> = 1..=1024;

impl Passphrase {
    /// The first line of a text.
    pub(crate) fn new(text: &str) -> Result<Self> {
        let line = text.lines().next().unwrap_or_default();
        ensure!(LENGTH.contains(&line.len()), "a passphrase has {} to {} bytes", LENGTH.start(), LENGTH.end());
        Ok(Self(line.to_owned()))
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

/// How a sealed key begins, by which it is told from a plain one.
pub(crate) const MARK: &str = "# A DePX key, encrypted with a passphrase.";

/// What the file says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    version: u32,
    /// KiB of memory that stretching the passphrase takes.
    argon2_memory: u32,
    /// Passes over that memory.
    argon2_passes: u32,
    /// Lanes of that memory.
    argon2_lanes: u32,
    salt: String,
    nonce: String,
    key: String,
}

/// RFC 9106's second recommendation, for where memory is not plenty: 64 MiB, three passes, four lanes.
const STRETCH: (u32, u32, u32) = (64 << 10, 3, 4);
/// What a file may ask for before anything is known of whoever wrote it: a minute and 1 GiB at the most.
const MEMORY: RangeInclusive<u32> = 8 << 10..=1 << 20;
const PASSES: RangeInclusive<u32> = 1..=16;
const LANES: RangeInclusive<u32> = 1..=16;

const VERSION: u32 = 1;
const SALT: usize = 16;
const NONCE: usize = 24;

/// Encrypts a key. Gives the file's text.
pub(crate) fn seal(key: &SecretKey, passphrase: &Passphrase) -> Result<String> {
    let (argon2_memory, argon2_passes, argon2_lanes) = STRETCH;
    let (salt, nonce): ([u8; SALT], [u8; NONCE]) = (depx_transport::random(), depx_transport::random());
    let mut sealed = Sealed {
        version: VERSION,
        argon2_memory,
        argon2_passes,
        argon2_lanes,
        salt: to_hex(&salt),
        nonce: to_hex(&nonce),
        key: String::new(),
    };
    let (aad, plain) = (sealed.authenticated(), key.to_hex());
    let encrypted = sealed
        .cipher(passphrase, &salt)?
        .encrypt(&XNonce::from(nonce), Payload { msg: plain.as_bytes(), aad: aad.as_bytes() });
    sealed.key = to_hex(&encrypted.ok().context("the key cannot be encrypted")?);
    Ok(format!("{MARK}\n{}", toml::to_string(&sealed)?.trim_end()))
}

/// Decrypts what [`seal`] gave. Errors repeat nothing of the file.
pub(crate) fn open(text: &str, passphrase: &Passphrase) -> Result<SecretKey> {
    let Ok(sealed) = toml::from_str::<Sealed>(text) else {
        bail!("it is damaged: it is not as `depx node init` wrote it; put a copy of it in its place")
    };
    ensure!(sealed.version == VERSION, "it is of version {}, and this release of depx knows {VERSION}", sealed.version);
    let asked = [
        ("argon2_memory", sealed.argon2_memory, MEMORY),
        ("argon2_passes", sealed.argon2_passes, PASSES),
        ("argon2_lanes", sealed.argon2_lanes, LANES),
    ];
    for (name, value, range) in asked {
        let allowed = format!("{} to {}", range.start(), range.end());
        ensure!(
            range.contains(&value),
            "it is damaged, or not to be trusted: {name} is {value}; {allowed} are allowed"
        );
    }
    let parts = (from_hex::<SALT>(&sealed.salt), from_hex::<NONCE>(&sealed.nonce), bytes_of(&sealed.key));
    let (Some(salt), Some(nonce), Some(encrypted)) = parts else {
        bail!("it is damaged: salt, nonce and key are not hexadecimal digits of the right number")
    };
    let aad = sealed.authenticated();
    let payload = Payload { msg: &encrypted, aad: aad.as_bytes() };
    let Ok(plain) = sealed.cipher(passphrase, &salt)?.decrypt(&XNonce::from(nonce), payload) else {
        bail!("the passphrase is wrong, or the file is damaged")
    };
    let text = std::str::from_utf8(&plain).context("what was encrypted is no key")?;
    SecretKey::from_hex(text).context("what was encrypted is no key")
}

impl Sealed {
    /// All but the key itself.
    fn authenticated(&self) -> String {
        let Self { version, argon2_memory, argon2_passes, argon2_lanes, salt, nonce, key: _ } = self;
        format!("depx key {version} {argon2_memory} {argon2_passes} {argon2_lanes} {salt} {nonce}")
    }

    fn cipher(&self, passphrase: &Passphrase, salt: &[u8]) -> Result<XChaCha20Poly1305> {
        let mut stretched = [0; 32];
        Params::new(self.argon2_memory, self.argon2_passes, self.argon2_lanes, Some(stretched.len()))
            .map(|params| Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
            .and_then(|argon2| argon2.hash_password_into(passphrase.0.as_bytes(), salt, &mut stretched))
            .map_err(|error| anyhow::anyhow!("the passphrase cannot be stretched: {error}"))?;
        Ok(XChaCha20Poly1305::new(&stretched.into()))
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = hex.chars().map(|char| char.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}

fn from_hex<const N: usize>(hex: &str) -> Option<[u8; N]> {
    bytes_of(hex)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text).unwrap()
    }

    fn error(text: &str, with: &str) -> String {
        format!("{:#}", open(text, &passphrase(with)).map(|_| ()).unwrap_err())
    }

    #[test]
    fn a_sealed_key_is_opened_by_its_passphrase_alone() {
        let key = SecretKey::from_bytes(&[7; 32]).unwrap();
        let sealed = seal(&key, &passphrase("correct horse\n")).unwrap();
        assert!(sealed.starts_with(MARK) && !sealed.contains(&key.to_hex()) && !sealed.contains("horse"), "{sealed}");
        assert_eq!(open(&sealed, &passphrase("correct horse")).unwrap().address(), key.address());
        assert_eq!(error(&sealed, "correct horses"), "the passphrase is wrong, or the file is damaged");
        // No two files are alike.
        assert_ne!(sealed, seal(&key, &passphrase("correct horse")).unwrap());
    }

    #[test]
    fn nothing_of_a_sealed_key_can_be_changed() {
        let key = SecretKey::from_bytes(&[7; 32]).unwrap();
        let sealed = seal(&key, &passphrase("p")).unwrap();
        for (from, to) in
            [("passes = 3", "passes = 2"), ("lanes = 4", "lanes = 3"), ("memory = 65536", "memory = 65537")]
        {
            assert!(sealed.contains(from));
            assert_eq!(error(&sealed.replace(from, to), "p"), "the passphrase is wrong, or the file is damaged");
        }
        for field in ["salt = \"", "nonce = \"", "\nkey = \""] {
            let at = sealed.find(field).unwrap() + field.len();
            let other = if sealed.as_bytes()[at] == b'0' { "1" } else { "0" };
            let changed = format!("{}{other}{}", &sealed[..at], &sealed[at + 1..]);
            assert_eq!(error(&changed, "p"), "the passphrase is wrong, or the file is damaged", "{field}");
        }
    }

    #[test]
    fn what_a_file_asks_for_is_bounded() {
        let file = |memory: u64, passes: u32, lanes: u32| {
            format!(
                "version = 1\nargon2_memory = {memory}\nargon2_passes = {passes}\nargon2_lanes = {lanes}\nsalt = \"\"\nnonce = \"\"\nkey = \"\""
            )
        };
        let cases = [
            (file(1 << 21, 1, 1), "argon2_memory is 2097152; 8192 to 1048576 are allowed"),
            (file(1024, 1, 1), "argon2_memory is 1024; 8192 to 1048576 are allowed"),
            (file(8192, 17, 1), "argon2_passes is 17; 1 to 16 are allowed"),
            (file(8192, 0, 1), "argon2_passes is 0; 1 to 16 are allowed"),
            (file(8192, 1, 17), "argon2_lanes is 17; 1 to 16 are allowed"),
            (file(1 << 40, 1, 1), "it is damaged: it is not as `depx node init` wrote it"),
            (file(8192, 1, 1), "salt, nonce and key are not hexadecimal digits"),
            (file(8192, 1, 1).replace("version = 1", "version = 2"), "it is of version 2"),
            (format!("{}\nmore = 1", file(8192, 1, 1)), "it is damaged"),
            (String::new(), "it is damaged"),
        ];
        for (text, sentence) in cases {
            let error = error(&text, "p");
            assert!(error.contains(sentence), "{error}");
        }
    }

    #[test]
    fn a_passphrase_is_a_line_of_some_length() {
        assert!(passphrase("a\nb").is(&passphrase("a")));
        for bad in ["", "\nsecond", &"x".repeat(1025)] {
            let error = Passphrase::new(bad).map(|_| ()).unwrap_err().to_string();
            assert_eq!(error, "a passphrase has 1 to 1024 bytes");
        }
    }
}
