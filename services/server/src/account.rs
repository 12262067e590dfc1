//! `account`: standing, plan and agreements of a tenant, for who runs the server; and the end of one.

use std::path::PathBuf;

use calendar::Instant;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenant::Tenancy;
use tenant::domain::{AccountChange, AccountCommand, Feature, Override, Plan, Standing};

use crate::admin;
use crate::cli::{self, Failure, say};
use crate::purge;

/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 500;

/// `account`.
#[derive(Debug, Args)]
pub(crate) struct AccountArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What is done with an account.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Shows standing, plan and every entitlement.
    Show(Of),
    /// Sets the plan: starter, standard, premium or enterprise.
    ///
    /// Effective within a minute, without a restart. Without API access the keys of the tenant are refused; none is
    /// deleted.
    Plan(SetPlan),
    /// Agrees something beside the plan, or ends that.
    Override(SetOverride),
    /// Sets the standing: trial, active, past-due or suspended.
    Standing(SetStanding),
    /// Ends a tenant that has given notice and whose export window is over: no copy of its data can be read again.
    ///
    /// Prints a signed receipt, which is kept in the folder too. The server on the data folder must be stopped.
    Purge(Purge),
}

/// Which account, where.
#[derive(Debug, Args)]
pub(crate) struct Of {
    /// Folder of all data.
    #[arg(long, value_name = "DIR", default_value = "cargo-pilot-data", env = "CARGO_PILOT_DATA")]
    pub(crate) data: PathBuf,
    /// File of the root key, which wraps the keys of tenants; `secrets/root-key` in the data folder when absent.
    #[arg(long, value_name = "FILE", env = "CARGO_PILOT_ROOT_KEY")]
    pub(crate) root_key: Option<PathBuf>,
    /// Short name of the tenant.
    #[arg(long, default_value = "main")]
    pub(crate) slug: String,
    /// Prints one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What every change says.
#[derive(Debug, Args)]
pub(crate) struct ChangeOf {
    /// Why; in the audit log of the tenant.
    #[arg(long, default_value = "", value_parser = reason)]
    pub(crate) reason: String,
    /// Which account.
    #[command(flatten)]
    pub(crate) of: Of,
}

/// `account plan`.
#[derive(Debug, Args)]
pub(crate) struct SetPlan {
    /// starter, standard, premium or enterprise.
    #[arg(value_parser = plan)]
    pub(crate) plan: Plan,
    /// Why, and which account.
    #[command(flatten)]
    pub(crate) change: ChangeOf,
}

/// `account override`.
#[derive(Debug, Args)]
pub(crate) struct SetOverride {
    /// `api.access`, `businesses.max` or `support.level`.
    #[arg(value_parser = feature)]
    pub(crate) feature: Feature,
    /// What holds instead of the plan; the plan holds again when absent.
    pub(crate) value: Option<String>,
    /// Until then, RFC 3339; for good when absent.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) until: Option<Instant>,
    /// Why, and which account.
    #[command(flatten)]
    pub(crate) change: ChangeOf,
}

/// `account standing`.
#[derive(Debug, Args)]
pub(crate) struct SetStanding {
    /// trial, active, past-due or suspended.
    #[arg(value_parser = ["trial", "active", "past-due", "suspended"])]
    pub(crate) standing: String,
    /// The end of a trial, RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) until: Option<Instant>,
    /// Why, and which account.
    #[command(flatten)]
    pub(crate) change: ChangeOf,
}

/// `account purge`.
#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// Which account.
    #[command(flatten)]
    pub(crate) of: Of,
}

/// What is asked of the server that runs on a folder. The texts are those of the command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Question {
    slug: String,
    what: Option<Change>,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Change {
    Plan(String),
    Override(String, Option<String>, Option<i64>),
    Standing(String, Option<i64>),
}

pub(crate) fn run(args: &AccountArgs) -> Result<(), Failure> {
    cli::log_warnings()?;
    let micros = |at: Option<Instant>| at.map(Instant::unix_micros);
    let (of, what, reason) = match &args.what {
        What::Show(of) => (of, None, ""),
        What::Plan(args) => {
            (&args.change.of, Some(Change::Plan(args.plan.code().to_owned())), args.change.reason.as_str())
        }
        What::Override(args) => {
            if args.value.is_none() && args.until.is_some() {
                return Err(Failure::Usage("--until goes with a value".to_owned()));
            }
            let change =
                Change::Override(args.feature.code().to_owned(), args.value.clone(), micros(args.until));
            (&args.change.of, Some(change), args.change.reason.as_str())
        }
        What::Standing(args) => {
            if (args.standing == "trial") != args.until.is_some() {
                return Err(Failure::Usage("--until goes with 'trial', and 'trial' with --until".to_owned()));
            }
            let change = Change::Standing(args.standing.clone(), micros(args.until));
            (&args.change.of, Some(change), args.change.reason.as_str())
        }
        What::Purge(args) => return purge::run(&args.of),
    };
    let question = Question { slug: of.slug.clone(), what, reason: reason.to_owned() };
    // A line of the socket ends where it ends; JSON has no line ends.
    let line = format!("{}{}", admin::ACCOUNT, json!(question));
    let answer =
        admin::ask_tenants(&of.data, of.root_key.as_deref(), &line, async |tenants: &tenant::App| {
            answer(tenants, &question).await
        })?;
    let text = answer.map_err(|why| Failure::Usage(format!("the account of '{}': {why}", of.slug)))?;
    print(of, &text)
}

fn print(of: &Of, text: &str) -> Result<(), Failure> {
    if of.json {
        say(text);
        return Ok(());
    }
    let account: Value = serde_json::from_str(text)
        .map_err(|error| Failure::Unavailable(format!("the answer of the server is not whole: {error}")))?;
    let field = |name: &str| account.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let until = match (field("trialEndsAt"), field("purgeFrom")) {
        (end, _) if !end.is_empty() => format!(" until {end}"),
        (_, from) if !from.is_empty() => format!(", to be purged from {from}"),
        _ => String::new(),
    };
    say(format_args!(
        "{} ({}): {}{until}, plan {}",
        of.slug,
        field("tenantId"),
        field("standing"),
        field("plan")
    ));
    for held in account.get("entitlements").and_then(Value::as_array).into_iter().flatten() {
        let field = |name: &str| held.get(name).and_then(Value::as_str).unwrap_or_default();
        let agreed = match (held.get("overridden").and_then(Value::as_bool), field("until")) {
            (Some(true), "") => " (agreed beside the plan)".to_owned(),
            (Some(true), until) => format!(" (agreed beside the plan until {until})"),
            _ => String::new(),
        };
        say(format_args!("  {:<16} {}{agreed}", field("feature"), field("value")));
    }
    Ok(())
}

/// Does what is asked, and shows the account after it, as JSON; or says why not.
pub(crate) async fn answer(tenants: &tenant::App, question: &Question) -> Result<String, String> {
    let found = match &question.what {
        None => tenants.tenancy(&question.slug).await,
        Some(change) => {
            let command = AccountCommand::new(read(change)?, reason(&question.reason)?);
            tenants.set_account(&question.slug, command).await
        }
    };
    let now = tenants.journal().env().now();
    Ok(shown(&found.map_err(|error| error.to_string())?, now).to_string())
}

fn read(change: &Change) -> Result<AccountChange, String> {
    let at = |micros: Option<i64>| micros.map(Instant::from_unix_micros);
    Ok(match change {
        Change::Plan(code) => AccountChange::Plan(plan(code)?),
        Change::Override(code, None, _) => AccountChange::NoOverride(feature(code)?),
        Change::Override(code, Some(text), until) => {
            let feature = feature(code)?;
            let value = feature.value(text).map_err(|why| format!("the value of '{code}' {why}"))?;
            AccountChange::Override(feature, Override { value, until: at(*until) })
        }
        Change::Standing(code, until) => AccountChange::Standing(match (code.as_str(), at(*until)) {
            ("trial", Some(until)) => Standing::Trial { until },
            ("active", None) => Standing::Active,
            ("past-due", None) => Standing::PastDue,
            ("suspended", None) => Standing::Suspended,
            _ => return Err(format!("'{code}' is no standing")),
        }),
    })
}

fn shown(tenancy: &Tenancy, now: Instant) -> Value {
    let account = &tenancy.account;
    let standing = account.standing.at(now);
    let (trial, purge) = match standing {
        Standing::Trial { until } => (Some(until.to_string()), None),
        Standing::Closing { purge_from, .. } => (None, Some(purge_from.to_string())),
        Standing::Active | Standing::PastDue | Standing::Suspended => (None, None),
    };
    let held = Feature::ALL.map(|feature| {
        let held = account.entitlement(feature, now);
        json!({
            "feature": feature.code(), "value": held.value.text(), "overridden": held.overridden,
            "until": held.until.map(|until| until.to_string()),
        })
    });
    json!({
        "tenantId": tenancy.tenant.to_string(), "standing": standing.code(), "plan": account.plan.code(),
        "trialEndsAt": trial, "purgeFrom": purge, "entitlements": held,
    })
}

fn plan(code: &str) -> Result<Plan, String> {
    let codes = Plan::ALL.map(Plan::code).join(", ");
    Plan::parse(code).ok_or_else(|| format!("'{code}' is no plan: there are {codes}"))
}

fn feature(code: &str) -> Result<Feature, String> {
    let codes = Feature::ALL.map(Feature::code).join(", ");
    Feature::parse(code).ok_or_else(|| format!("'{code}' is no feature: there are {codes}"))
}

fn instant(text: &str) -> Result<Instant, String> {
    Instant::parse(text).map_err(|error| format!("'{text}' {error}"))
}

fn reason(text: &str) -> Result<String, String> {
    match text.chars().count() <= REASON_CHARS_MAX {
        true => Ok(text.to_owned()),
        false => Err(format!("a reason has at most {REASON_CHARS_MAX} characters")),
    }
}
