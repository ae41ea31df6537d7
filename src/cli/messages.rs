//! What the program says on stderr: errors with hints, warnings, summaries, details.

use std::fmt;
use std::io::{ErrorKind, IsTerminal, Write};

use clap::ColorChoice;

use super::text::printable;
use crate::error::Error;
use crate::picture::io::{Warning, one_line};

/// Options that every command has.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalOptions {
    /// Print errors only
    #[arg(long, global = true)]
    pub quiet: bool,

    /// Print more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Use color: 'auto' where stderr is a terminal and NO_COLOR is not set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
}

/// An error of the command line itself, with what the user can do about it.
#[derive(Debug)]
pub struct Complaint {
    message: String,
    hint: &'static str,
    status: i32,
}

impl Complaint {
    /// The work cannot be done as asked: exit status 1.
    pub fn failure(message: impl Into<String>, hint: &'static str) -> Self {
        Self {
            message: message.into(),
            hint,
            status: 1,
        }
    }

    /// The command line is wrong: exit status 2.
    pub fn usage(message: impl Into<String>, hint: &'static str) -> Self {
        Self {
            status: 2,
            ..Self::failure(message, hint)
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Complaint {}

impl GlobalOptions {
    /// Prints an error with its causes on one line, and a hint if there is one.
    pub fn error(&self, error: &anyhow::Error) {
        self.print("error:", "\x1b[1;31m", &one_line(&format!("{error:#}")));
        if let Some(hint) = hint(error) {
            // The blank line sets the hint apart from the error.
            write_line("");
            self.print("hint:", "\x1b[1;36m", hint);
        }
    }

    /// Prints a warning, unless `--quiet`.
    pub fn warn(&self, text: &str) {
        if !self.quiet {
            self.print("warning:", "\x1b[1;33m", text);
        }
    }

    /// Prints what there is to know about a picture, unless `--quiet`.
    pub fn warn_about(&self, name: &str, warnings: &[Warning]) {
        for warning in warnings {
            self.warn(&format!("{name}: {warning}"));
        }
    }

    /// Prints a line about the result, unless `--quiet`.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            write_line(&printable(text));
        }
    }

    /// Prints a line that only `--verbose` asks for.
    pub fn detail(&self, text: impl FnOnce() -> String) {
        if self.verbose > 0 && !self.quiet {
            write_line(&printable(&text()));
        }
    }

    fn print(&self, label: &str, style: &str, text: &str) {
        let text = printable(text);
        if self.has_color() {
            write_line(&format!("{style}{label}\x1b[0m {text}"));
        } else {
            write_line(&format!("{label} {text}"));
        }
    }

    fn has_color(&self) -> bool {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        match self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => std::io::stderr().is_terminal() && !is_set("NO_COLOR"),
        }
    }
}

/// Writes a line to stderr; a closed stderr must not stop the work.
fn write_line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Exit status of a run that was ended by Ctrl-C, as shells report it: 128 + SIGINT.
pub const INTERRUPTED: i32 = 130;

/// The exit status for an error: 0 for a closed pipe, 130 for a cancelled run, else 1 or 2.
pub fn status(error: &anyhow::Error) -> i32 {
    for cause in error.chain() {
        if let Some(complaint) = cause.downcast_ref::<Complaint>() {
            return complaint.status;
        }
        if let Some(error) = cause.downcast_ref::<std::io::Error>()
            && error.kind() == ErrorKind::BrokenPipe
        {
            return 0;
        }
        match cause.downcast_ref::<Error>() {
            Some(Error::Cancelled) => return INTERRUPTED,
            Some(Error::Io(error)) if error.kind() == ErrorKind::BrokenPipe => return 0,
            _ => {}
        }
    }
    1
}

/// What the user can do about an error, where there is one thing.
fn hint(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| {
        if let Some(complaint) = cause.downcast_ref::<Complaint>() {
            return Some(complaint.hint).filter(|hint| !hint.is_empty());
        }
        match cause.downcast_ref::<Error>()? {
            Error::LimitExceeded { what, .. } if what.contains("pixels") => {
                Some("raise it with --max-pixels")
            }
            Error::LimitExceeded {
                what: "width" | "height",
                ..
            } => Some("raise it with --max-side"),
            Error::UnknownModel(_) => {
                Some("put the weights file in AEC_MODEL_DIR or pass --model PATH")
            }
            Error::WrongModel { .. } => Some("leave out --model: files say which one they need"),
            Error::TargetOutOfReach { .. } => Some("write the closest file with --best-effort"),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    fn wrapped(error: impl Into<anyhow::Error>) -> anyhow::Error {
        Err::<(), _>(error.into())
            .context("cannot do it")
            .unwrap_err()
    }

    #[test]
    fn status_looks_through_the_context() {
        let pipe = || std::io::Error::from(ErrorKind::BrokenPipe);
        assert_eq!(status(&wrapped(pipe())), 0);
        assert_eq!(status(&wrapped(Error::Io(pipe()))), 0);
        assert_eq!(status(&wrapped(Error::Cancelled)), 130);
        assert_eq!(status(&wrapped(Error::NotAec)), 1);
        assert_eq!(status(&wrapped(Complaint::usage("a", "b"))), 2);
        assert_eq!(status(&wrapped(Complaint::failure("a", "b"))), 1);
    }

    #[test]
    fn hints_name_the_option() {
        let error = wrapped(Error::LimitExceeded {
            what: "number of pixels",
            found: 2,
            limit: 1,
        });
        assert!(hint(&error).unwrap().contains("--max-pixels"));
        assert!(
            hint(&wrapped(Error::UnknownModel("00".into())))
                .unwrap()
                .contains("--model")
        );
        assert_eq!(hint(&wrapped(Error::NotAec)), None);
        assert_eq!(hint(&wrapped(Complaint::failure("a", ""))), None);
    }
}
