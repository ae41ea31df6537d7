//! Completion scripts and manual pages, made from the definition of the command line.

use std::io::Write;

use clap_complete::Shell;

use super::messages::Complaint;
use super::stdio;

/// Arguments of `aec completions`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell that will read the script
    shell: Shell,
}

/// Arguments of `aec man`.
#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// The command to describe, with those inside it: latent export [default: aec itself]
    command: Vec<String>,
}

/// Prints a completion script.
pub(super) fn completions(
    args: &CompletionsArgs,
    mut definition: clap::Command,
) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut definition, "aec", &mut script);
    Ok(stdio::stdout()?.write_all(&script)?)
}

/// Prints a manual page in roff.
pub(super) fn man(args: &ManArgs, mut definition: clap::Command) -> anyhow::Result<()> {
    definition.build();
    let mut described = &definition;
    for name in &args.command {
        let inside = described.find_subcommand(name);
        described = inside.ok_or_else(|| {
            let message = format!("there is no command '{}'", args.command.join(" "));
            Complaint::usage(message, "see 'aec --help'")
        })?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(described.clone()).render(&mut page)?;
    Ok(stdio::stdout()?.write_all(&page)?)
}
