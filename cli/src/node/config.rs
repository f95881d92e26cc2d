//! The configuration file, in TOML. What it may say, and of which type, follows from the options of `depx node run`; see
//! [`super::settings`].

use super::settings::Settings;
use anyhow::{Context, Result, anyhow, bail};
use clap::{Arg, ArgAction, Command};
use std::any::TypeId;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// Bytes of a configuration file. The longest sensible one has some hundred coordinators.
const MAX_BYTES: u64 = 64 << 10;

/// What a file says, checked.
#[derive(Default, PartialEq, Debug)]
pub(crate) struct Config {
    /// Keys and what they are set to, as on the command line.
    values: Vec<(String, String)>,
}

impl Config {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let file = File::open(path).with_context(|| format!("cannot read the configuration file {name}"))?;
        let mut text = String::new();
        file.take(MAX_BYTES + 1)
            .read_to_string(&mut text)
            .with_context(|| format!("cannot read the configuration file {name}"))?;
        if text.len() as u64 > MAX_BYTES {
            bail!("the configuration file {name} has more than {MAX_BYTES} bytes; is it the right file?");
        }
        Self::parse(&text).map_err(|(line, reason)| anyhow!("{name}, line {line}: {reason}"))
    }

    /// Fails with a line and what is wrong there. Of the text, only keys are repeated: somebody may take a key file for it.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let line = |position: usize| 1 + text.bytes().take(position).filter(|byte| *byte == b'\n').count();
        let table = DeTable::parse(text).map_err(|error| {
            let position = error.span().map_or(0, |span| span.start);
            (line(position), format!("not TOML: {}", error.message()))
        })?;
        let command = Settings::command("config");
        let mut values = Vec::new();
        let mut entries: Vec<_> = table.get_ref().iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let said = command.get_arguments().find(|arg| arg.get_id() == key.get_ref().as_ref());
            let said = match said {
                Some(arg) => set(arg, value.get_ref()).map_err(|reason| format!("{}: {reason}", key.get_ref())),
                None => Err(unknown(&command, key.get_ref())),
            };
            // An empty list is as good as none.
            if let Some(text) = said.map_err(|reason| (line(key.span().start), reason))? {
                values.push((key.get_ref().to_string(), text));
            }
        }
        Ok(Self { values })
    }

    /// Whether it says nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The command with what the file says in place of defaults.
    pub(super) fn as_defaults(&self, command: Command) -> Command {
        self.values.iter().fold(command, |command, (key, value)| command.mut_arg(key, |arg| arg.default_value(value)))
    }
}

fn unknown(command: &Command, key: &str) -> String {
    let known: Vec<&str> = command.get_arguments().map(|arg| arg.get_id().as_str()).collect();
    // No key is half as long as a secret.
    let key = if key.len() < 32 { format!("{key:?}") } else { format!("what has {} bytes", key.len()) };
    format!("{key} is not a key of this file; these are: {}", known.join(", "))
}

/// The value as on the command line, if the option could have it; `None` sets nothing.
fn set(arg: &Arg, value: &DeValue<'_>) -> Result<Option<String>, String> {
    let wrong = |expected: &str| format!("expected {expected}, not a value of type {}", value.type_str());
    let text = match (Kind::of(arg), value) {
        (Kind::Texts, DeValue::Array(items)) if items.is_empty() => return Ok(None),
        (Kind::Texts, DeValue::Array(items)) => {
            let texts: Option<Vec<&str>> = items.iter().map(|item| item.get_ref().as_str()).collect();
            texts.ok_or("expected a list of strings")?.join(",")
        }
        (Kind::Texts, _) => return Err(wrong("a list of strings")),
        (Kind::Flag, value) => value.as_bool().ok_or_else(|| wrong("true or false"))?.to_string(),
        (Kind::Text, value) => value.as_str().ok_or_else(|| wrong("a string"))?.to_owned(),
        (Kind::Number, DeValue::Integer(number)) if number.radix() == 10 => number.as_str().to_owned(),
        (Kind::Number, _) => return Err(wrong(&allowed(arg))),
    };
    reason_against(arg, &text).map_or(Ok(Some(text)), Err)
}

/// What is allowed, in the words of who refuses everything else.
fn allowed(arg: &Arg) -> String {
    let said = reason_against(arg, "?").unwrap_or_default();
    said.strip_prefix("expected ").unwrap_or(&said).to_owned()
}

/// Why an option cannot be set to this.
fn reason_against(arg: &Arg, text: &str) -> Option<String> {
    let option = format!("--{}={text}", arg.get_long().unwrap_or_default());
    let error = Command::new("config").arg(arg.clone()).try_get_matches_from(["config", &option]).err()?;
    Some(error.source().map_or_else(|| "it must not be empty".to_owned(), ToString::to_string))
}

/// What a key is set to.
#[derive(Clone, Copy)]
enum Kind {
    Flag,
    Number,
    Text,
    Texts,
}

impl Kind {
    fn of(arg: &Arg) -> Self {
        let parsed = arg.get_value_parser().type_id();
        match () {
            () if matches!(arg.get_action(), ArgAction::Append) => Self::Texts,
            () if parsed == TypeId::of::<bool>() => Self::Flag,
            () if parsed == TypeId::of::<u32>() || parsed == TypeId::of::<u64>() => Self::Number,
            () => Self::Text,
        }
    }
}

/// The width of the example's lines.
const WIDTH: usize = 100;

/// Paragraphs before the keys.
const INTRODUCTION: [&str; 2] = [
    "What a DePX node does. `depx node init` writes this file, with every key and its default.",
    "A line that begins with # says nothing. Each key is also an option of `depx node run`, with - for _. Options on the command line \
     come before the environment, and both before this file. After a change, start the node again.",
];

/// A file with every key, what it means, what is allowed, and its default; those in `set` are set, to these lines of TOML.
pub(crate) fn example(set: &[(&str, String)]) -> String {
    let mut text = INTRODUCTION.map(wrapped).join("\n#\n");
    let mut heading = None;
    for arg in Settings::command("config").get_arguments() {
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            text.push_str(&format!("\n\n### {}", heading.unwrap_or_default()));
        }
        let key = arg.get_id().as_str();
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let (kind, default) = (Kind::of(arg), arg.get_default_values().first());
        let default = default.map(|value| value.to_string_lossy().into_owned());
        let name = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
        let (help, value) = match (kind, default) {
            (Kind::Texts, _) => (format!("{help}. Several are separated by commas."), format!("[\"{name}\"]")),
            (Kind::Number, Some(default)) => (format!("{help} ({}).", allowed(arg)), default),
            (_, Some(default)) => (format!("{help}."), default),
            (_, None) => (format!("{help}."), format!("\"{name}\"")),
        };
        text.push_str(&format!("\n\n{}", wrapped(&help)));
        match set.iter().find(|(set, _)| *set == key) {
            Some((_, value)) => text.push_str(&format!("\n{key} = {value}")),
            None => text.push_str(&format!("\n# {key} = {value}")),
        }
    }
    text + "\n"
}

/// A comment of lines that are not longer than this.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.split_whitespace() {
        if lines.last().is_none_or(|line| line.len() + 1 + word.len() > WIDTH) {
            lines.push(String::from("#"));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::CoordinatorName;

    const NAME: &str = "0x1111111111111111111111111111111111111111@localhost:4433";

    #[test]
    fn what_the_file_says_is_what_holds() {
        let text = format!(
            "coordinators = [\"{NAME}\", \"{NAME}\"]\nslots = 3\nallow_weak_sandbox = true\npassphrase_file = \"p\"\nmax_seconds = 1_0\n"
        );
        let settings = Settings::of_file(&Config::parse(&text).unwrap()).unwrap();
        let name: CoordinatorName = NAME.parse().unwrap();
        assert_eq!(settings.coordinators, [name.clone(), name]);
        assert_eq!((settings.slots, settings.allow_weak_sandbox), (3, true));
        assert_eq!(settings.passphrase_file.as_deref(), Some(Path::new("p")));
        assert_eq!(settings.limits.limits().wall_ms, 10_000);
        assert_eq!(Config::parse("coordinators = []").unwrap(), Config::default());
        let none = Settings::of_file(&Config::default()).unwrap();
        assert_eq!((none.coordinators.len(), none.slots, none.allow_weak_sandbox), (0, 0, false));
    }

    #[test]
    fn each_mistake_is_named_with_its_line_and_what_is_allowed() {
        let cases = [
            ("slot = 1", 1, "\"slot\" is not a key of this file; these are: coordinators, slots, blob_quota"),
            ("\n[network]\nx = 1", 2, "\"network\" is not a key"),
            ("slots = 1\nslots = 2", 2, "not TOML: duplicate key"),
            ("\nslots 1", 2, "not TOML: "),
            ("slots = \"1\"", 1, "slots: expected a whole number from 0 to 1024, not a value of type string"),
            ("slots = 1.5", 1, "slots: expected a whole number from 0 to 1024, not a value of type float"),
            ("slots = 0x10", 1, "slots: expected a whole number from 0 to 1024"),
            ("# one\nslots = 1025", 2, "slots: expected a whole number from 0 to 1024"),
            ("slots = -1", 1, "slots: expected a whole number from 0 to 1024"),
            ("max_memory = 99999999999999999999", 1, "max_memory: expected a whole number from 1 to 4096"),
            ("allow_weak_sandbox = 1", 1, "allow_weak_sandbox: expected true or false, not a value of type integer"),
            ("allow_weak_sandbox = \"yes\"", 1, "allow_weak_sandbox: expected true or false"),
            ("passphrase_file = []", 1, "passphrase_file: expected a string, not a value of type array"),
            ("passphrase_file = \"\"", 1, "passphrase_file: it must not be empty"),
            ("metrics = \"here\"", 1, "metrics: expected ADDRESS:PORT, for instance 127.0.0.1:9464"),
            ("coordinators = \"x\"", 1, "coordinators: expected a list of strings, not a value of type string"),
            ("coordinators = [1]", 1, "coordinators: expected a list of strings"),
            ("coordinators = [\"x\"]", 1, "coordinators: expected 0xADDRESS@HOST:PORT, as the coordinator prints it"),
        ];
        for (text, line, sentence) in cases {
            let (found, reason) = Config::parse(text).unwrap_err();
            assert!(found == line && reason.starts_with(sentence), "{text:?}: {found}: {reason}");
        }
    }

    #[test]
    fn what_was_taken_for_a_configuration_is_not_repeated() {
        let secret = "5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2";
        let key = format!("\"{secret}\" = 1");
        for text in [secret, &format!("slots = {secret}"), &format!("passphrase = \"{secret}\""), &key] {
            let (_, reason) = Config::parse(text).unwrap_err();
            assert!(!reason.contains(&secret[..20]), "{reason}");
        }
    }

    #[test]
    fn the_example_has_every_key_and_uncommented_says_the_defaults() {
        let example = example(&[]);
        assert_eq!(Config::parse(&example).unwrap(), Config::default());
        let is_key = |line: &&str| line.strip_prefix("# ").is_some_and(|line| line.contains(" = "));
        let keys: Vec<&str> = example.lines().filter(is_key).map(|line| &line[2..]).collect();
        assert_eq!(keys.len(), Settings::command("config").get_arguments().count());
        // Three have no default.
        let example_only = ["coordinators", "passphrase_file", "metrics"];
        let defaults = keys.iter().filter(|line| !example_only.iter().any(|key| line.starts_with(key)));
        let text: String = defaults.map(|line| format!("{line}\n")).collect();
        let config = Config::parse(&text).unwrap();
        assert_eq!(config.values.len(), keys.len() - 3);
        assert_eq!(Settings::of_file(&config).unwrap(), Settings::of_file(&Config::default()).unwrap());
        assert!(example.lines().all(|line| line.len() <= WIDTH), "{example}");
    }

    #[test]
    fn the_committed_example_is_this_one() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/config.example.toml"));
        let example = example(&[]);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(path, &example).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == example, "{} is stale; UPDATE_EXPECT=1 writes it", path.display());
    }
}
