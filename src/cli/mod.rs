//! The command line: one file per subcommand, each with its `Args` and `run`.
//!
//! Data goes to stdout, talk to stderr. The exit status is decided in [`main`] alone:
//! 0 done (also when a reader closed its pipe), 1 the work failed, 2 wrong usage, 130 Ctrl-C.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // reports and charts round

mod batch;
mod bench;
mod compare;
mod damage;
mod decode;
mod encode;
mod export;
mod fit_tables;
mod folder;
mod html;
mod info;
mod inspect;
mod interrupt;
mod latent;
mod memory;
mod messages;
mod metric;
mod models;
mod options;
mod output;
mod plot;
mod progress;
mod rate;
mod sheet;
mod shell;
mod stdio;
mod table;
pub mod text;
mod train;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::{ArgAction, CommandFactory, Parser, Subcommand};

pub use messages::GlobalOptions;

use crate::codec::{Model, Tune, model_id};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "aec",
    about = "Learned image compression: encode and decode .aec files",
    after_help = "Environment: AEC_MODEL_DIR, a folder of model files (*.safetensors) for files and --model to name.\n\n\
                  Exit status: 0 success, 1 failure, 2 wrong usage, 130 interrupted.",
    arg_required_else_help = true,
    subcommand_required = false,
    infer_subcommands = false
)]
struct Cli {
    /// Print version, format version and built-in models
    #[arg(short = 'V', long, action = ArgAction::SetTrue)]
    version: bool,

    #[command(flatten)]
    global: GlobalOptions,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compress an image to .aec
    Encode(encode::Args),
    /// Decompress an .aec file to an image
    Decode(decode::Args),
    /// Show what an .aec file contains
    Info(info::Args),
    /// Show where the bits of a file went and where its error is
    Inspect(inspect::Args),
    /// Take the quantized latent out of a file
    Latent(latent::Args),
    /// Measure rate and distortion between two images
    Compare(compare::Args),
    /// Run encode and decode over a folder and report rate-distortion and speed
    Bench(bench::Args),
    /// Train model weights
    Train(train::Args),
    /// Make a model of trained weights
    Export(export::Args),
    /// Fit a model's entropy tables to what the encoder writes
    FitTables(fit_tables::Args),
    /// Print a completion script for a shell
    Completions(shell::CompletionsArgs),
    /// Print the manual page, or that of a command
    Man(shell::ManArgs),
}

/// Runs the command line of this process and gives its exit status.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return print_usage(&error),
    };
    interrupt::install();
    let global = cli.global;
    run(cli).map_or_else(|error| report(&error, global), |()| ExitCode::SUCCESS)
}

/// Prints an error, unless who ended the run knows, and gives the exit status.
fn report(error: &anyhow::Error, global: GlobalOptions) -> ExitCode {
    let status = messages::status(error);
    if status != 0 && status != messages::INTERRUPTED {
        global.error(error);
    }
    exit_code(status)
}

/// Prints what the parser says, which may repeat any argument, and gives the exit status.
fn print_usage(error: &clap::Error) -> ExitCode {
    let status = exit_code(error.exit_code());
    if !error.use_stderr() {
        // Help, which was asked for.
        let printed = stdio::stdout().map(drop).and_then(|()| Ok(error.print()?));
        return printed.map_or_else(
            |error| report(&error, GlobalOptions::default()),
            |()| status,
        );
    }
    let text = error.to_string();
    if text.lines().all(|line| text::printable(line) == line) {
        // Nothing can be done when even the terminal is gone.
        let _ = error.print();
    } else {
        let lines: Vec<String> = text.lines().map(text::printable).collect();
        let _ = writeln!(std::io::stderr(), "{}", lines.join("\n"));
    }
    status
}

fn exit_code(status: i32) -> ExitCode {
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let global = &cli.global;
    if cli.version {
        return print_version();
    }
    match cli.command {
        Some(Command::Encode(args)) => encode::run(args, global),
        Some(Command::Decode(args)) => decode::run(args, global),
        Some(Command::Info(args)) => info::run(args, global),
        Some(Command::Inspect(args)) => inspect::run(args, global),
        Some(Command::Latent(args)) => latent::run(args, global),
        Some(Command::Compare(args)) => compare::run(args, global),
        Some(Command::Bench(args)) => bench::run(args, global),
        Some(Command::Train(args)) => train::run(args, global),
        Some(Command::Export(args)) => export::run(&args, global),
        Some(Command::FitTables(args)) => fit_tables::run(&args, global),
        Some(Command::Completions(args)) => shell::completions(&args, Cli::command()),
        Some(Command::Man(args)) => shell::man(&args, Cli::command()),
        None => Err(messages::Complaint::usage("a command is required", "see 'aec --help'").into()),
    }
}

/// Version of the program, of the format it writes, and the built-in models with what they are for.
fn print_version() -> anyhow::Result<()> {
    let mut out = stdio::stdout()?;
    writeln!(out, "aec {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "format version {}", crate::format::VERSION)?;
    for tune in [Tune::Ssim, Tune::Psnr] {
        let model = Model::embedded_for(tune).context(models::BUILT_IN)?;
        let (name, id) = (model.name(), model_id(&model));
        writeln!(out, "built-in model {name} ({id}), --tune {}", tune.name())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn usage_errors_are_found_by_the_parser() {
        for line in [
            "aec encode a",
            "aec encode a b -q 101",
            "aec encode a b -q x",
            "aec encode a b -j 0",
            "aec decode a b --format gif",
            "aec nothing",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn global_options_stand_anywhere() {
        let cli = Cli::try_parse_from("aec encode --quiet a b -v".split(' ')).unwrap();
        assert!(cli.global.quiet);
        assert_eq!(cli.global.verbose, 1);
    }
}
