//! `owner-key`: lets the owner of a tenant in again.

use serde_json::json;

use crate::admin;
use crate::cli::{self, Failure, OwnerKey, say};
use crate::data::Stores;

pub(crate) fn run(args: &OwnerKey) -> Result<(), Failure> {
    cli::log_warnings()?;
    // A line of the socket ends where it ends.
    let slug = args.slug.as_str();
    if slug.chars().any(char::is_control) {
        return Err(Failure::Usage("--slug must not hold control characters".to_owned()));
    }
    let answer = match admin::ask(&args.data, &format!("{}{slug}", admin::OWNER_KEY)) {
        Some(answer) => answer.map_err(|error| {
            Failure::Unavailable(format!("the server on '{}' did not answer: {error}", args.data.display()))
        })?,
        None => cli::run_async(make(args))?,
    };
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

/// On a folder whose server is stopped.
async fn make(args: &OwnerKey) -> Result<Result<String, String>, Failure> {
    let stores = Stores::open_existing(&args.data, args.root_key.as_deref())?;
    let platform = stores.platform(gateway::Config::default())?;
    let made = platform.tenant.app().replace_owner_key(&args.slug).await;
    stores.close();
    Ok(made.map(|credential| credential.reveal()).map_err(|error| error.to_string()))
}
