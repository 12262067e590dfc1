//! `operator-access`: who runs the server asks a tenant to see its data, and gets a key once the tenant has granted it.

use clap::{Args, Subcommand};
use ids::OperatorAccessId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenant::domain::{OperatorAccess, OperatorStatus, Role};

use crate::account::Of;
use crate::admin;
use crate::cli::{self, Failure, say};

/// `operator-access`.
#[derive(Debug, Args)]
pub(crate) struct OperatorAccessArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What is done with an access.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Asks the tenant; its owner grants it with POST /v1/operatorAccesses/{id}:grant, or does not.
    Request(Request),
    /// Shows what became of it.
    Show(Named),
    /// Prints the key of an access that was granted, once. It ends with the access.
    Open(Named),
}

/// `operator-access request`.
#[derive(Debug, Args)]
pub(crate) struct Request {
    /// What it is for; the tenant reads it.
    #[arg(long)]
    pub(crate) reason: String,
    /// viewer, to look; clerk, to work with goods as well.
    #[arg(long, default_value = "viewer", value_parser = ["viewer", "clerk"])]
    pub(crate) role: String,
    /// For how many hours, from when it is granted.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=72))]
    pub(crate) hours: u32,
    /// Of which tenant.
    #[command(flatten)]
    pub(crate) of: Of,
}

/// `operator-access show`, `operator-access open`.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Its id, opa_….
    pub(crate) id: String,
    /// Of which tenant.
    #[command(flatten)]
    pub(crate) of: Of,
}

/// What is asked of the server that runs on a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Question {
    slug: String,
    what: Step,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Step {
    Request { reason: String, role: String, hours: u32 },
    Show(String),
    Open(String),
}

pub(crate) fn run(args: &OperatorAccessArgs) -> Result<(), Failure> {
    cli::log_warnings()?;
    let (of, what) = match &args.what {
        What::Request(args) => {
            let (reason, role) = (args.reason.clone(), args.role.clone());
            (&args.of, Step::Request { reason, role, hours: args.hours })
        }
        What::Show(args) => (&args.of, Step::Show(args.id.clone())),
        What::Open(args) => (&args.of, Step::Open(args.id.clone())),
    };
    let question = Question { slug: of.slug.clone(), what };
    // A line of the socket ends where it ends; JSON has no line ends.
    let line = format!("{}{}", admin::OPERATOR_ACCESS, json!(question));
    let answer =
        admin::ask_tenants(&of.data, of.root_key.as_deref(), &line, async |tenants: &tenant::App| {
            answer(tenants, &question).await
        })?;
    let text = answer.map_err(|why| Failure::Usage(format!("operator access to '{}': {why}", of.slug)))?;
    if of.json {
        say(text);
        return Ok(());
    }
    let shown: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::Unavailable(format!("the answer of the server is not whole: {error}")))?;
    let field = |name: &str| shown.get(name).and_then(Value::as_str).unwrap_or_default();
    let until = if field("until").is_empty() { String::new() } else { format!(" until {}", field("until")) };
    say(format_args!("{} to '{}' as {}: {}{until}", field("id"), of.slug, field("role"), field("status")));
    match &args.what {
        What::Request(_) => say("The owner of the tenant grants it: POST /v1/operatorAccesses/{id}:grant"),
        What::Open(_) => say(format_args!("Its key, shown only now:\n\n  {}\n", field("apiKey"))),
        What::Show(_) => {}
    }
    Ok(())
}

/// Does what is asked, and shows the access after it, as JSON; or says why not.
pub(crate) async fn answer(tenants: &tenant::App, question: &Question) -> Result<String, String> {
    let (slug, told) = (&question.slug, |error: tenant::Error| error.to_string());
    let parse = |id: &str| OperatorAccessId::parse(id).map_err(|error| format!("the id '{id}' {error}"));
    let (access, key) = match &question.what {
        Step::Request { reason, role, hours } => {
            let role = Role::parse(role).ok_or_else(|| format!("'{role}' is no role"))?;
            (tenants.request_operator_access(slug, reason, role, *hours).await.map_err(told)?, None)
        }
        Step::Show(id) => (tenants.operator_access_named(slug, parse(id)?).await.map_err(told)?, None),
        Step::Open(id) => {
            let (access, key) = tenants.open_operator_access(slug, parse(id)?).await.map_err(told)?;
            (access, Some(key.reveal()))
        }
    };
    Ok(shown(&access, key, tenants.journal().env().now()).to_string())
}

fn shown(access: &OperatorAccess, key: Option<String>, now: calendar::Instant) -> Value {
    let (status, until) = match access.status.at(now) {
        OperatorStatus::Requested => ("requested", None),
        OperatorStatus::Granted { until } => ("granted", Some(until.to_string())),
        OperatorStatus::Refused => ("refused", None),
        OperatorStatus::Ended => ("ended", None),
    };
    json!({
        "id": access.id.to_string(), "status": status, "until": until, "role": access.role.code(),
        "reason": access.reason, "hours": access.hours, "apiKey": key,
    })
}
