//! What is lost or changed when a picture is read or written, collected on the way.

use std::fmt;

/// Something about a picture that was read, or is to be written, that its owner should know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Metadata that is left out, by name.
    NotKept(Vec<String>),
    /// What else of a file is left out, such as further pages, by name.
    LeftOut(Vec<String>),
    /// Samples of colors had more than 8 bits and were rounded.
    Rounded,
    /// What is damaged in a file that could be read all the same.
    Damaged(String),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotKept(names) | Self::LeftOut(names) => {
                write!(f, "not kept: {}", names.join(", "))
            }
            Self::Rounded => f.write_str("colors of more than 8 bits are rounded to 8"),
            Self::Damaged(what) => f.write_str(what),
        }
    }
}

/// The warnings of one picture so far.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    not_kept: Vec<String>,
    left_out: Vec<String>,
    damaged: Vec<String>,
    is_rounded: bool,
}

impl Notes {
    /// Notes that metadata is left out.
    pub(super) fn not_kept(&mut self, name: impl Into<String>) {
        add(&mut self.not_kept, name.into());
    }

    /// Notes that something else is left out.
    pub(super) fn left_out(&mut self, name: impl Into<String>) {
        add(&mut self.left_out, name.into());
    }

    /// Notes what is damaged.
    pub(super) fn damaged(&mut self, what: impl Into<String>) {
        add(&mut self.damaged, what.into());
    }

    /// Notes that colors were rounded.
    pub(super) fn rounded(&mut self) {
        self.is_rounded = true;
    }

    /// The warnings, the gravest first.
    pub(super) fn finish(self) -> Vec<Warning> {
        let mut warnings: Vec<_> = self.damaged.into_iter().map(Warning::Damaged).collect();
        if self.is_rounded {
            warnings.push(Warning::Rounded);
        }
        if !self.left_out.is_empty() {
            warnings.push(Warning::LeftOut(self.left_out));
        }
        if !self.not_kept.is_empty() {
            warnings.push(Warning::NotKept(self.not_kept));
        }
        warnings
    }
}

/// Most different things that are named; a hostile file must not make an endless list.
const MOST: usize = 12;

fn add(list: &mut Vec<String>, text: String) {
    if list.len() < MOST && !list.contains(&text) {
        list.push(text);
    }
}
