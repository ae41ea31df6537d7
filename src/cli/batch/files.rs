//! Which files a run over many inputs reads and writes.
//!
//! Decided before any work is done, so that two inputs never end up in one output.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::bail;

use super::super::messages::Complaint;
use super::super::output::identity;
use super::super::{folder, stdio, text};
use crate::atomic::parent;

/// What a command reads and writes.
pub(in super::super) struct FileKinds {
    /// Lower-case extensions of inputs inside folders; files that are named may have any.
    pub inputs: &'static [&'static str],
    /// How messages call them.
    pub inputs_name: &'static str,
    /// Extension of outputs.
    pub output: &'static str,
    /// Whether it is added to that of the input, and does not replace it.
    pub keeps_extension: bool,
}

/// One input and where its result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Task {
    pub input: PathBuf,
    pub output: PathBuf,
}

/// The tasks of a run, and the folders that could not be read.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub tasks: Vec<Task>,
    pub failures: Vec<anyhow::Error>,
}

/// The tasks of the named files and folders, in that order.
///
/// # Errors
/// When there is nothing to do, or an output would replace another output or an input.
pub(super) fn plan(inputs: &[PathBuf], out_dir: &Path, kinds: &FileKinds) -> anyhow::Result<Plan> {
    if out_dir.exists() && !out_dir.is_dir() {
        bail!(
            "cannot write into {}: it is not a folder",
            text::quoted(out_dir)
        );
    }
    let mut plan = Plan::default();
    for input in inputs {
        if stdio::is_standard_stream(input) {
            bail!(Complaint::usage(
                "cannot use '-' with --out-dir",
                "name files and folders, or leave out --out-dir",
            ));
        }
        if input.is_dir() {
            plan.add_folder(input, out_dir, kinds);
        } else {
            // A file that is missing fails when its turn comes, and the others do not.
            let name = input.file_name().unwrap_or(input.as_os_str());
            plan.add(input.clone(), Path::new(name), out_dir, kinds);
        }
    }
    if plan.tasks.is_empty() && plan.failures.is_empty() {
        let named: Vec<String> = inputs.iter().map(|path| stdio::input_name(path)).collect();
        bail!("no {} in {}", kinds.inputs_name, named.join(", "));
    }
    refuse_collisions(&mut plan.tasks)?;
    Ok(plan)
}

impl Plan {
    /// Adds `input`, whose place below the output folder is that of `relative`.
    fn add(&mut self, input: PathBuf, relative: &Path, out_dir: &Path, kinds: &FileKinds) {
        let mut name = relative.with_extension(kinds.output);
        if kinds.keeps_extension {
            let mut longer = relative.as_os_str().to_owned();
            longer.push(".");
            longer.push(kinds.output);
            name = longer.into();
        }
        let output = out_dir.join(name);
        self.tasks.push(Task { input, output });
    }

    /// Adds the files of the right kind in a folder and its sub-folders.
    fn add_folder(&mut self, root: &Path, out_dir: &Path, kinds: &FileKinds) {
        for found in folder::files(root, usize::MAX, kinds.inputs) {
            match found {
                Ok(input) => {
                    let relative = input.strip_prefix(root).unwrap_or(&input).to_path_buf();
                    self.add(input, &relative, out_dir, kinds);
                }
                Err(error) => self.failures.push(error),
            }
        }
    }
}

/// Drops inputs that were named twice; refuses outputs that would replace each other or an input.
fn refuse_collisions(tasks: &mut Vec<Task>) -> anyhow::Result<()> {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let mut by_output: HashMap<PathBuf, PathBuf> = HashMap::new();
    let mut collision = None;
    tasks.retain(|task| match by_output.entry(place(&task.output)) {
        Entry::Vacant(entry) => {
            entry.insert(task.input.clone());
            true
        }
        Entry::Occupied(other) => {
            if real(other.get()) != real(&task.input) {
                collision.get_or_insert((other.get().clone(), task.clone()));
            }
            false
        }
    });
    if let Some((other, task)) = collision {
        bail!(Complaint::failure(
            format!(
                "{} and {} would both become {}",
                text::quoted(&other),
                text::quoted(&task.input),
                text::quoted(&task.output)
            ),
            "use --keep-extension, or another --out-dir for one of them",
        ));
    }
    refuse_replaced_inputs(tasks)
}

fn refuse_replaced_inputs(tasks: &[Task]) -> anyhow::Result<()> {
    let inputs: HashMap<_, &Path> = tasks
        .iter()
        .filter_map(|task| Some((identity(&task.input)?, task.input.as_path())))
        .collect();
    for task in tasks {
        if let Some(input) = identity(&task.output).and_then(|output| inputs.get(&output)) {
            bail!(Complaint::failure(
                format!(
                    "the result of {} would replace the input {}",
                    text::quoted(&task.input),
                    text::quoted(input)
                ),
                "use another --out-dir",
            ));
        }
    }
    Ok(())
}

/// Where what is written to `path` ends up: links, of the file or of its folder, are followed.
fn place(path: &Path) -> PathBuf {
    let through_folder = || {
        let folder = fs::canonicalize(parent(path)).ok()?;
        Some(folder.join(path.file_name()?))
    };
    let real = fs::canonicalize(path).ok().or_else(through_folder);
    folded(&real.unwrap_or_else(|| path.to_path_buf()))
}

/// The path as the file system tells names apart.
fn folded(path: &Path) -> PathBuf {
    if cfg!(any(windows, target_os = "macos")) {
        path.to_string_lossy().to_lowercase().into()
    } else {
        path.to_path_buf()
    }
}
