//! Load generator: what the server posts and reads a second, and how that compares with PostgreSQL on the
//! same machine in the same minutes. README.md explains the commands.
#![allow(
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    reason = "rates and ratios are measurements; no quantity or amount is computed here"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use mimalloc::MiMalloc;

mod check;
mod client;
mod fair;
mod goals;
mod import;
mod load;
mod machine;
mod measure;
mod random;
mod report;
mod scenario;
mod server;
mod turn;
mod world;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Whatever ends a run; it is printed and nothing else depends on its kind.
type Error = Box<dyn std::error::Error + Send + Sync>;

/// Measures Cargo Pilot and compares it with PostgreSQL.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs PostgreSQL and the server in turns and writes a report with the ratios.
    Compare {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        scripts: Scripts,
        /// Pairs of turns; the report shows medians.
        #[arg(long, default_value_t = 3)]
        pairs: u32,
        /// Seconds of each run.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// One pair, two seconds a run.
        #[arg(long, conflicts_with_all = ["pairs", "seconds"])]
        quick: bool,
        /// Exit with status 1 when a required floor is missed.
        #[arg(long)]
        enforce: bool,
    },
    /// Runs the server alone and prints what it measures.
    Run {
        #[command(flatten)]
        common: Common,
        /// Seconds of each run.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Only runs whose name contains this: `grpc post`, `hot`, `last 50`.
        #[arg(long, default_value = "")]
        only: String,
    },
    /// Two tenants: how much slower one is answered while the other sends many times its load.
    Fair {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        shape: fair::Shape,
    },
    /// The tenant that `fair` starts as a process of its own.
    #[command(hide = true)]
    Aggress(fair::Aggress),
    /// Imports the files that dataset/convert.py made and compares every balance.
    Import {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        scripts: Scripts,
        /// Folder of the files, with the expectations below it.
        #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/.cache/complete-journey"))]
        files: PathBuf,
    },
}

#[derive(Args)]
struct Common {
    /// The server's program; default: `cargo-pilot` beside this program.
    #[arg(long)]
    server: Option<PathBuf>,
    /// Where the data folders of both sides are made and removed: a real disk.
    #[arg(long, default_value = "/var/tmp")]
    parent: PathBuf,
}

impl Common {
    fn server(&self) -> Result<PathBuf, Error> {
        match &self.server {
            Some(path) => Ok(path.clone()),
            None => Ok(std::env::current_exe()?.with_file_name("cargo-pilot")),
        }
    }
}

#[derive(Args)]
struct Scripts {
    /// Interpreter of the scripts, Python 3.11 or newer.
    #[arg(long, default_value = "python3")]
    python: String,
    /// Folder that the report is written to, under the date.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/reports"))]
    reports: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().command).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("load-tests: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(command: Command) -> Result<ExitCode, Error> {
    match command {
        Command::Run { common, seconds, only } => {
            let machine = machine::describe(&common.parent)?;
            let lasting = Duration::from_secs(seconds);
            let product = turn::product(&common.server()?, &common.parent, lasting, &only).await?;
            print!("{}", report::alone(&product, &machine)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Fair { common, shape } => {
            let machine = machine::describe(&common.parent)?;
            let text = fair::measure(&common.server()?, &common.parent, &shape).await?;
            print!("{}{text}", report::heading(&machine));
            Ok(ExitCode::SUCCESS)
        }
        Command::Aggress(aggress) => fair::aggress(&aggress).await.map(|()| ExitCode::SUCCESS),
        Command::Import { common, scripts, files } => {
            let machine = machine::describe(&common.parent)?;
            let text = import::measure(&common.server()?, &common.parent, &files, &scripts.python)?;
            publish(&scripts.reports, "-import", &(report::heading(&machine) + &text))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Compare { common, scripts, pairs, seconds, quick, enforce } => {
            let (pairs, seconds) = if quick { (1, 2) } else { (pairs, seconds) };
            let lasting = Duration::from_secs(seconds);
            let machine = machine::describe(&common.parent)?;
            let server = common.server()?;
            let mut done = Vec::new();
            for pair in 1..=pairs {
                eprintln!("pair {pair} of {pairs}: PostgreSQL");
                let baseline = turn::baseline(&scripts.python, &common.parent, lasting)?;
                eprintln!("pair {pair} of {pairs}: server");
                let product = turn::product(&server, &common.parent, lasting, "").await?;
                done.push((baseline, product));
            }
            publish(&scripts.reports, "", &report::comparison(&done, &machine, lasting)?)?;
            Ok(if enforce && !report::floors_hold(&done) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
    }
}

/// Prints `text` and writes it to `DATE.md` in `folder`, with `suffix` after the date; a report of the same
/// day is replaced.
fn publish(folder: &Path, suffix: &str, text: &str) -> Result<(), Error> {
    print!("{text}");
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{}{suffix}.md", jiff::Timestamp::now().strftime("%Y-%m-%d")));
    fs::write(&path, text)?;
    eprintln!("written to {}", path.display());
    Ok(())
}
