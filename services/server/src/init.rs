//! `init`: a tenant, its master business and the owner's key.

use problem::Problem as _;
use serde_json::json;

use crate::cli::{self, Costing, Failure, Init, say};
use crate::data::{Stores, Which};

pub(crate) fn run(args: &Init) -> Result<(), Failure> {
    cli::log_warnings()?;
    let new = tenant(args)?;
    // Before anything is made.
    new.check().map_err(|error| refused(&error))?;
    cli::run_async(init(args, new))
}

fn tenant(args: &Init) -> Result<tenant::BootstrapTenant, Failure> {
    let currency = money::Currency::parse(&args.currency)
        .map_err(|error| Failure::Usage(format!("--currency '{}': {error}", args.currency)))?;
    let minor_places = u8::try_from(currency.minor_places()).unwrap_or(2);
    Ok(tenant::BootstrapTenant {
        slug: args.slug.clone(),
        name: args.name.clone(),
        legal_name: args.name.clone(),
        country: args.country.clone(),
        currency,
        cost_scale: args.cost_scale.unwrap_or(minor_places),
        costing: match args.costing {
            Costing::MovingAverage => tenant::domain::Costing::MovingAverage,
            Costing::Fifo => tenant::domain::Costing::Fifo,
        },
    })
}

async fn init(args: &Init, new: tenant::BootstrapTenant) -> Result<(), Failure> {
    let stores = Stores::open(&args.data, args.root_key.as_deref(), false, Which::All)?;
    let platform = stores.platform(gateway::Config::default(), outbound::Settings::default())?;
    let made = platform.tenant.app().bootstrap(new).await.map_err(|error| refused(&error))?;
    stores.close();
    let Some(credential) = made.credential else {
        return Err(Failure::Usage(format!(
            "the tenant '{}' is in '{}' already, and its owner's key was shown when it was made: use that key, or \
             name another tenant with --slug",
            args.slug,
            args.data.display()
        )));
    };
    let key = credential.reveal();
    if args.json {
        let (tenant, business) = (made.tenant.to_string(), made.business.to_string());
        say(json!({"tenantId": tenant, "businessId": business, "apiKey": key}));
    } else {
        say(format_args!("{} is ready. The owner's API key is shown only now, keep it safe:\n", args.name));
        say(format_args!("  {key}\n"));
        say(format_args!("Start the server:  cargo-pilot serve --data '{}'", args.data.display()));
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
