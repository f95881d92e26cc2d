//! Standard input, standard output and the exit code of a task.

use std::fmt::Display;
use std::io::{Read, Write};
use std::process::ExitCode;

/// Bytes of an error that are shown: a paragraph.
const MAX_MESSAGE: usize = 2048;

/// All of standard input.
pub fn input() -> Result<Vec<u8>, ExitCode> {
    let mut input = Vec::new();
    match std::io::stdin().read_to_end(&mut input) {
        Ok(_) => Ok(input),
        Err(error) => Err(fail(&mut std::io::stderr(), &format_args!("standard input cannot be read: {error}"))),
    }
}

/// Writes what a task came to: its result to standard output, or its error to standard error.
pub fn finish<T: AsRef<[u8]>, E: Display>(result: Result<T, E>) -> ExitCode {
    let (mut stdout, mut stderr) = (std::io::stdout().lock(), std::io::stderr());
    match result {
        Ok(output) => match stdout.write_all(output.as_ref()).and_then(|()| stdout.flush()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&mut stderr, &format_args!("standard output cannot be written: {error}")),
        },
        Err(error) => fail(&mut stderr, &error),
    }
}

fn fail(stderr: &mut impl Write, error: &dyn Display) -> ExitCode {
    // Where not even the error can be written, the exit code still tells.
    let _ = stderr.write_all(message(error).as_bytes());
    ExitCode::FAILURE
}

fn message(error: &dyn Display) -> String {
    let mut message = format!("error: {error}");
    if message.len() > MAX_MESSAGE {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        message.push('…');
    }
    message.push('\n');
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_bounded_and_end_their_line() {
        assert_eq!(message(&"no"), "error: no\n");
        let long = message(&"é".repeat(10_000));
        assert!(long.len() <= MAX_MESSAGE + "…\n".len() && long.ends_with("é…\n"));
    }
}
