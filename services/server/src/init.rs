//! `init`: a tenant, its master business and the owner's key.

use problem::Problem as _;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin;
use crate::cli::{self, Costing, Failure, Init, say};
use crate::data::Stores;

/// What a new tenant is to be.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct New {
    slug: String,
    name: String,
    country: String,
    currency: String,
    cost_scale: Option<u8>,
    fifo: bool,
}

/// The tenant that was made.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    tenant_id: String,
    business_id: String,
    /// Absent: the tenant was there before, and its key was shown then.
    api_key: Option<String>,
}

pub(crate) fn run(args: &Init) -> Result<(), Failure> {
    cli::log_warnings()?;
    let new = New {
        slug: args.slug.clone(),
        name: args.name.clone(),
        country: args.country.clone(),
        currency: args.currency.clone(),
        cost_scale: args.cost_scale,
        fifo: args.costing == Costing::Fifo,
    };
    // Before anything is made.
    let tenant = tenant(&new).map_err(Failure::Usage)?;
    tenant.check().map_err(|error| refused(&error))?;
    let question = format!("{}{}", admin::INIT, json!(new));
    let answer = match admin::ask(&args.data, &question) {
        Some(answered) => {
            let answered = answered.map_err(|error| {
                let folder = args.data.display();
                Failure::Unavailable(format!(
                    "the server on '{folder}' did not say whether the tenant was made: {error}: run it again; if the tenant is there then, \
                     `cargo-pilot owner-key` makes a key"
                ))
            })?;
            answered.map_err(Failure::Usage)?
        }
        None => {
            let stores = Stores::open_or_make(&args.data, args.root_key.as_deref())?;
            let made =
                admin::stopped_tenants(&stores, async |tenants: &tenant::App| make(tenants, tenant).await)?;
            made.map_err(|error| refused(&error))?
        }
    };
    let unreadable =
        |error| Failure::Unavailable(format!("the answer of the server cannot be read: {error}"));
    print(args, &serde_json::from_str(&answer).map_err(unreadable)?)
}

fn tenant(new: &New) -> Result<tenant::BootstrapTenant, String> {
    let currency = money::Currency::parse(&new.currency)
        .map_err(|error| format!("--currency '{}': {error}", new.currency))?;
    let minor_places = u8::try_from(currency.minor_places()).unwrap_or(2);
    Ok(tenant::BootstrapTenant {
        slug: new.slug.clone(),
        name: new.name.clone(),
        legal_name: new.name.clone(),
        country: new.country.clone(),
        currency,
        cost_scale: new.cost_scale.unwrap_or(minor_places),
        costing: match new.fifo {
            false => tenant::domain::Costing::MovingAverage,
            true => tenant::domain::Costing::Fifo,
        },
    })
}

/// Makes a tenant, or finds that it is there, and says so in JSON.
async fn make(tenants: &tenant::App, new: tenant::BootstrapTenant) -> Result<String, tenant::Error> {
    let made = tenants.bootstrap(new).await?;
    let api_key = made.credential.map(|credential| credential.reveal().clone());
    let (tenant_id, business_id) = (made.tenant.to_string(), made.business.to_string());
    Ok(json!(Made { tenant_id, business_id, api_key }).to_string())
}

/// The answer of a running server.
pub(crate) async fn answer(tenants: &tenant::App, new: &New) -> Result<String, String> {
    make(tenants, tenant(new)?).await.map_err(|error| refused(&error).to_string())
}

fn print(args: &Init, made: &Made) -> Result<(), Failure> {
    let Some(key) = &made.api_key else {
        return Err(Failure::Usage(format!(
            "the tenant '{}' is in '{}' already, and its owner's key was shown when it was made: use that key, or \
             name another tenant with --slug",
            args.slug,
            args.data.display()
        )));
    };
    if args.json {
        say(json!(made));
    } else {
        say(format_args!("{} is ready. The owner's API key is shown only now, keep it safe:\n", args.name));
        say(format_args!("  {key}\n"));
        if admin::connect(&args.data).is_none() {
            say(format_args!("Start the server:  cargo-pilot serve --data '{}'", args.data.display()));
        }
    }
    Ok(())
}

/// What a refused use case means on the command line.
fn refused(error: &tenant::Error) -> Failure {
    let mut fields: Vec<String> = Vec::new();
    for bad in error.violations() {
        let flag = bad.field.replace('_', "-");
        // Legal name and name are the same here.
        let text = format!("--{} {}", flag.trim_start_matches("legal-"), bad.detail);
        if !fields.contains(&text) {
            fields.push(text);
        }
    }
    if fields.is_empty() { Failure::Machine(error.to_string()) } else { Failure::Usage(fields.join("; ")) }
}
