//! Commands, and how they end.

use std::ffi::OsString;
use std::fmt::{self, Display};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use indicatif::ProgressState;

use crate::cql::{Migrate, Secrets};
use crate::roles::Role;
use crate::{
    account, backup, cql, export, import, init, keys, memory, operator_access, owner_key, restore, serve,
    verify, verify_audit,
};

const AFTER_HELP: &str = "\
Begin with `cargo-pilot serve --demo`: it prints a URL and an API key to try.

Exit codes: 0 done; 64 wrong arguments or settings; 65 wrong rows, or a ledger or log that does not add up;
69 the server does not answer; 74 this machine (port, disk, damaged data); 75 the data folder is in use.";

/// Inventory on a ledger, for businesses with more than one warehouse or company.
#[derive(Debug, Parser)]
#[command(
    name = "cargo-pilot",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = AFTER_HELP,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts the server: all services in this process, all data in one folder.
    Serve(Serve),
    /// Makes a tenant with its master business, and prints the owner's API key once.
    ///
    /// The server on the data folder must be stopped.
    Init(Init),
    /// Makes a new owner's API key for a tenant whose last one is lost, and prints it once.
    ///
    /// For whoever may read the data folder; the server on it may run or not. Other keys stay as they are.
    OwnerKey(OwnerKey),
    /// Loads products, locations, opening stock and sales from CSV files into a running server.
    ///
    /// All rows are checked first; one wrong row, and nothing is imported. Each row is posted once, however often
    /// the import runs: after an interruption, run the same command again.
    Import(Import),
    /// Re-computes every hash chain, balance and value from the entries, and compares the audit log with them.
    ///
    /// The server on the data folder must be stopped. `verify audit FILE…` checks exported audit logs instead.
    Verify(Verify),
    /// Writes the audit log of a running server into a file that is checked without it.
    Export(Export),
    /// Writes everything, the secrets too, into one file, while the server runs or not.
    ///
    /// What it holds is one moment of all services together; nobody waits for it.
    Backup(Backup),
    /// Makes a data folder from a backup, or puts one tenant of it back.
    ///
    /// The file is read to its end first: nothing is made from a damaged one.
    Restore(Restore),
    /// Rotates or destroys the keys that seal what is stored.
    ///
    /// On the folder of a running server or of a stopped one.
    Keys(KeysArgs),
    /// Shows and sets plan and standing of a tenant, and ends one that has given notice.
    ///
    /// For who runs the server, on the folder of a running server or of a stopped one.
    Account(account::AccountArgs),
    /// Makes the tables of a cluster in its database, or those that a newer version needs more.
    ///
    /// Before the first start and before each update; never while another migration runs.
    Migrate(Migrate),
    /// Makes the secrets that the processes of a cluster share.
    Secrets(Secrets),
    /// Asks a tenant for access to its data, and opens what it has granted.
    ///
    /// For who runs the server. Without a grant of the tenant there is none; all of it is in the tenant's audit log.
    OperatorAccess(operator_access::OperatorAccessArgs),
}

/// `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// What this process does, as one of a cluster; everything when absent.
    #[arg(value_enum, value_name = "ROLE")]
    pub roles: Vec<Role>,
    /// Folder of all data; made if it does not exist.
    #[arg(long, value_name = "DIR", default_value = "cargo-pilot-data", env = "CARGO_PILOT_DATA")]
    pub data: PathBuf,
    /// File of the root key, which wraps the keys of tenants; `secrets/root-key` in the data folder when absent.
    #[arg(long, value_name = "FILE", env = "CARGO_PILOT_ROOT_KEY")]
    pub root_key: Option<PathBuf>,
    /// Makes a demo tenant with sample data, unless it is there.
    #[arg(long)]
    pub demo: bool,
    /// Address to listen on; port 0 picks a free one.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Address of the admin port with health and metrics, for probes and Prometheus only; none when absent.
    #[arg(long, value_name = "IP:PORT")]
    pub admin_listen: Option<SocketAddr>,
    /// Prints one line of JSON when ready: {"url", "apiKey", "data"}, with roles {"roles", "url", "internal", "data"},
    /// and "adminUrl" if there is an admin port.
    #[arg(long)]
    pub json: bool,
    /// Settings file; `cargo-pilot.toml` in the working folder if there is one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Starts although data that was acknowledged is missing: what is missing is lost for good.
    #[arg(long)]
    pub accept_loss: bool,
}

/// `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Folder of all data; made if it does not exist.
    #[arg(long, value_name = "DIR", default_value = "cargo-pilot-data", env = "CARGO_PILOT_DATA")]
    pub data: PathBuf,
    /// File of the root key, which wraps the keys of tenants; `secrets/root-key` in the data folder when absent.
    #[arg(long, value_name = "FILE", env = "CARGO_PILOT_ROOT_KEY")]
    pub root_key: Option<PathBuf>,
    /// Short name of the tenant: lower-case letters, digits and `-`.
    #[arg(long, default_value = "main")]
    pub slug: String,
    /// Legal name of the master business.
    #[arg(long)]
    pub name: String,
    /// ISO 3166-1 alpha-2 code of its country: DE.
    #[arg(long, value_name = "CODE")]
    pub country: String,
    /// ISO 4217 code of the currency of costs and values: EUR.
    #[arg(long, value_name = "CODE")]
    pub currency: String,
    /// Decimal places of stock values, up to 6; the currency's own when absent.
    #[arg(long, value_name = "PLACES")]
    pub cost_scale: Option<u8>,
    /// How issues are valued.
    #[arg(long, value_enum, value_name = "METHOD", default_value_t = Costing::MovingAverage)]
    pub costing: Costing,
    /// Prints one line of JSON: {"tenantId", "businessId", "apiKey"}.
    #[arg(long)]
    pub json: bool,
}

/// `owner-key`.
#[derive(Debug, Args)]
pub struct OwnerKey {
    /// Folder of all data.
    #[arg(long, value_name = "DIR", default_value = "cargo-pilot-data", env = "CARGO_PILOT_DATA")]
    pub data: PathBuf,
    /// File of the root key, which wraps the keys of tenants; `secrets/root-key` in the data folder when absent.
    #[arg(long, value_name = "FILE", env = "CARGO_PILOT_ROOT_KEY")]
    pub root_key: Option<PathBuf>,
    /// Short name of the tenant.
    #[arg(long, default_value = "main")]
    pub slug: String,
    /// Prints one line of JSON: {"apiKey"}.
    #[arg(long)]
    pub json: bool,
}

/// How issues are valued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Costing {
    /// At the average of what is there.
    MovingAverage,
    /// At the cost of what came first.
    Fifo,
}

/// `import`.
#[derive(Debug, Args)]
pub struct Import {
    /// Folders or files: products.csv, locations.csv, opening.csv, sales.csv.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// URL of the server; by default that of the server that runs on the data folder.
    #[arg(long)]
    pub url: Option<String>,
    /// API key; by default that of the demo tenant in the data folder.
    #[arg(long, env = "CARGO_PILOT_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// Data folder of the server, where URL and key are found when they are not given.
    #[arg(long, value_name = "DIR", default_value = "cargo-pilot-data", env = "CARGO_PILOT_DATA")]
    pub data: PathBuf,
    /// Only checks the files: by themselves, or with --url against what that server has.
    #[arg(long)]
    pub check: bool,
    /// Prints each wrong row, and the result, as lines of JSON.
    #[arg(long)]
    pub json: bool,
}

/// `verify`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Verify {
    /// What to check instead of the data folder.
    #[command(subcommand)]
    pub what: Option<VerifyWhat>,
    /// Folder of all data.
    #[arg(long, value_name = "DIR", default_value = "cargo-pilot-data", env = "CARGO_PILOT_DATA")]
    pub data: PathBuf,
    /// File of the root key, which wraps the keys of tenants; `secrets/root-key` in the data folder when absent.
    #[arg(long, value_name = "FILE", env = "CARGO_PILOT_ROOT_KEY")]
    pub root_key: Option<PathBuf>,
    /// Prints one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// What `verify` checks instead of the data folder.
#[derive(Debug, Subcommand)]
pub enum VerifyWhat {
    /// Checks exported audit logs from their files alone.
    ///
    /// Signatures, tree, contents and journals of each file, and that each file continues the one before it.
    Audit(VerifyAudit),
    /// Checks the signature of the receipt of a purged tenant.
    Receipt(VerifyReceipt),
}

/// `verify receipt`.
#[derive(Debug, Args)]
pub struct VerifyReceipt {
    /// The receipt.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Key of the tenant's audit log, which signed it: `cargo-pilot/audit/ten_…+…`.
    #[arg(long, value_name = "KEY")]
    pub log_key: String,
    /// Prints one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// `verify audit`.
#[derive(Debug, Args)]
pub struct VerifyAudit {
    /// Exported audit logs of one tenant, the oldest first.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Public key of the log, as a checkpoint names it: get it from a source that you trust.
    #[arg(long, value_name = "KEY")]
    pub log_key: String,
    /// Public key of the witness.
    #[arg(long, value_name = "KEY")]
    pub witness_key: String,
    /// A signed checkpoint that was kept elsewhere, which the first file must continue.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Prints one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// `export`.
#[derive(Debug, Args)]
pub struct Export {
    /// What to export.
    #[command(subcommand)]
    pub what: ExportWhat,
}

/// What `export` writes.
#[derive(Debug, Subcommand)]
pub enum ExportWhat {
    /// The whole audit log of the tenant that the API key belongs to, with all contents.
    Audit(ExportAudit),
}

/// `export audit`.
#[derive(Debug, Args)]
pub struct ExportAudit {
    /// File to write; it must not exist.
    #[arg(long, value_name = "FILE")]
    pub into: PathBuf,
    /// URL of the server; by default that of the server that runs on the data folder.
    #[arg(long)]
    pub url: Option<String>,
    /// API key; by default that of the demo tenant in the data folder.
    #[arg(long, env = "CARGO_PILOT_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// Data folder of the server, where URL and key are found when they are not given.
    #[arg(long, value_name = "DIR", default_value = "cargo-pilot-data", env = "CARGO_PILOT_DATA")]
    pub data: PathBuf,
    /// Prints one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// `backup`.
#[derive(Debug, Args)]
pub struct Backup {
    /// Folder of all data.
    #[arg(long, value_name = "DIR", default_value = "cargo-pilot-data", env = "CARGO_PILOT_DATA")]
    pub data: PathBuf,
    /// File of the root key, which wraps the keys of tenants; `secrets/root-key` in the data folder when absent.
    #[arg(long, value_name = "FILE", env = "CARGO_PILOT_ROOT_KEY")]
    pub root_key: Option<PathBuf>,
    /// File to write; it must not exist.
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// Prints one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// `restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// The backup.
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// Folder to make; empty, or not there. With --tenant also a folder whose server is stopped.
    #[arg(long, value_name = "DIR", required_unless_present = "check", conflicts_with = "check")]
    pub into: Option<PathBuf>,
    /// Restores this tenant alone (its id, ten_…): what it has in the folder is replaced, others are not touched.
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// File of the root key of the folder, to see before a tenant is restored whether its key was destroyed.
    #[arg(long, value_name = "FILE", env = "CARGO_PILOT_ROOT_KEY")]
    pub root_key: Option<PathBuf>,
    /// Only reads the file, and says whether it is whole and what it holds.
    #[arg(long)]
    pub check: bool,
    /// Prints one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// `keys`.
#[derive(Debug, Args)]
pub struct KeysArgs {
    /// What to do.
    #[command(subcommand)]
    pub what: KeysWhat,
}

/// What is done with keys.
#[derive(Debug, Subcommand)]
pub enum KeysWhat {
    /// Makes a new version of each tenant's key: what is written from now on is sealed with it.
    ///
    /// What is there opens as before. Nobody waits for it.
    Rotate(RotateKeys),
    /// Destroys the key of one tenant: nothing of it, in no backup either, can be read again by anybody.
    Destroy(DestroyKey),
}

/// `keys rotate`.
#[derive(Debug, Args)]
pub struct RotateKeys {
    /// Folder of all data.
    #[arg(long, value_name = "DIR", default_value = "cargo-pilot-data", env = "CARGO_PILOT_DATA")]
    pub data: PathBuf,
    /// File of the root key, which wraps the keys of tenants; `secrets/root-key` in the data folder when absent.
    #[arg(long, value_name = "FILE", env = "CARGO_PILOT_ROOT_KEY")]
    pub root_key: Option<PathBuf>,
    /// Only this tenant's (its id, ten_…).
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Prints one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// `keys destroy`.
#[derive(Debug, Args)]
pub struct DestroyKey {
    /// Folder of all data.
    #[arg(long, value_name = "DIR", default_value = "cargo-pilot-data", env = "CARGO_PILOT_DATA")]
    pub data: PathBuf,
    /// File of the root key, which wraps the keys of tenants; `secrets/root-key` in the data folder when absent.
    #[arg(long, value_name = "FILE", env = "CARGO_PILOT_ROOT_KEY")]
    pub root_key: Option<PathBuf>,
    /// The tenant (its id, ten_…).
    #[arg(long, value_name = "TENANT")]
    pub tenant: String,
    /// Says that this is meant: it cannot be undone.
    #[arg(long, required = true)]
    pub for_good: bool,
    /// Prints one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Why a command failed: its text says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Wrong arguments or settings.
    #[error("{0}")]
    Usage(String),
    /// Wrong rows, or a ledger that does not add up.
    #[error("{0}")]
    Data(String),
    /// The server cannot be reached or does not answer.
    #[error("{0}")]
    Unavailable(String),
    /// Something on this machine: a port, a file, a locked or damaged folder.
    #[error("{0}")]
    Machine(String),
    /// The data folder is in use.
    #[error("{0}")]
    Locked(String),
}

impl Failure {
    /// Exit codes as in `sysexits.h`.
    fn code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 64,
            Failure::Data(_) => 65,
            Failure::Unavailable(_) => 69,
            Failure::Machine(_) => 74,
            Failure::Locked(_) => 75,
        }
    }
}

/// Runs the command line, and says how it ended: 0, or a code of `sysexits.h` with a text on standard
/// error.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    memory::hold_little();
    // Installed, it is also `cargo pilot`, which passes its own name first.
    let args =
        args.into_iter().enumerate().filter(|(at, arg)| *at != 1 || arg != "pilot").map(|(_, arg)| arg);
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print(); // nothing is left to tell if standard error is closed
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    let outcome = match cli.command {
        Command::Serve(serve) => serve::run(&serve),
        Command::Init(init) => init::run(&init),
        Command::OwnerKey(owner_key) => owner_key::run(&owner_key),
        Command::Import(import) => import::run(&import),
        Command::Verify(Verify { what: Some(VerifyWhat::Audit(audit)), .. }) => verify_audit::run(&audit),
        Command::Verify(Verify { what: Some(VerifyWhat::Receipt(args)), .. }) => verify_audit::receipt(&args),
        Command::Verify(verify) => verify::run(&verify),
        Command::Export(Export { what: ExportWhat::Audit(audit) }) => export::run(&audit),
        Command::Backup(backup) => backup::run(&backup),
        Command::Restore(restore) => restore::run(&restore),
        Command::Keys(KeysArgs { what }) => keys::run(&what),
        Command::Account(args) => account::run(&args),
        Command::Migrate(args) => cql::migrate(&args),
        Command::Secrets(args) => cql::make_secrets(&args),
        Command::OperatorAccess(args) => operator_access::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(format_args!("error: {failure}"));
            ExitCode::from(failure.code())
        }
    }
}

/// Prints a line on standard output. A reader that went away, as `head` does, is no failure.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints a line on standard error.
pub(crate) fn complain(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Shows the speed of a progress bar in whole units.
pub(crate) fn rate(state: &ProgressState, out: &mut dyn fmt::Write) {
    let _ = write!(out, "{:.0}/s", state.per_sec()); // what is drawn next is drawn right
}

/// Runs asynchronous work to its end.
pub(crate) fn run_async<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::Machine(format!("no threads can be started: {error}")))?.block_on(work)
}

/// Shows what a command other than `serve` has to warn of.
pub(crate) fn log_warnings() -> Result<(), Failure> {
    let settings = runtime::log::Settings { level: "warn".to_owned(), ..Default::default() };
    runtime::log::init(&settings).map_err(|error| Failure::Usage(error.to_string()))
}
