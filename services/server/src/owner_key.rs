//! `owner-key`: lets the owner of a tenant in again.

use serde_json::json;

use crate::admin;
use crate::cli::{self, Failure, OwnerKey, say};

pub(crate) fn run(args: &OwnerKey) -> Result<(), Failure> {
    cli::log_warnings()?;
    // A line of the socket ends where it ends.
    let slug = args.slug.as_str();
    if slug.chars().any(char::is_control) {
        return Err(Failure::Usage("--slug must not hold control characters".to_owned()));
    }
    let question = format!("{}{slug}", admin::OWNER_KEY);
    let answer = admin::ask_tenants(
        &args.data,
        args.root_key.as_deref(),
        &question,
        async |tenants: &tenant::App| answer(tenants, slug).await,
    )?;
    let key = answer.map_err(|why| {
        Failure::Usage(format!("'{slug}' gets no new key: {why}: name the tenant with --slug"))
    })?;
    if args.json {
        say(json!({"apiKey": key}));
    } else {
        say(format_args!("A new owner's API key of '{slug}'. It is shown only now, keep it safe:\n"));
        say(format_args!("  {key}\n"));
        say("Revoke the lost one: GET /v1/apiKeys names it, POST /v1/apiKeys/{id}:revoke ends it.");
    }
    Ok(())
}

/// Makes the key.
pub(crate) async fn answer(tenants: &tenant::App, slug: &str) -> Result<String, String> {
    let made = tenants.replace_owner_key(slug).await;
    made.map(|credential| credential.reveal()).map_err(|error| error.to_string())
}
