//! A tenant with one of everything.

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::door::{Door, unique};
use crate::rest::text;
use crate::world::{Tenant, World};

/// What requests of a tenant can name.
pub(crate) struct Home {
    pub(crate) tenant: Tenant,
    pub(crate) door: Door,
    product: String,
    variant: String,
    location: String,
    other_location: String,
    price_list: String,
    active_user: OnceCell<String>,
    provider: OnceCell<String>,
    /// Two owners who are signed in: one who leaves, and one who gets keys of theirs.
    owners: OnceCell<[Value; 2]>,
    /// Roles are made in the master business.
    pub(crate) master: String,
    /// Who runs the server asks for access without a request.
    tenants: tenant::App,
}

impl Home {
    /// A new tenant; its texts begin with `slug`.
    pub(crate) async fn new(world: &World, slug: &str) -> Home {
        let tenant = world.tenant(slug).await;
        let master = tenant.key.clone();
        Home::of(world, tenant, slug, master).await
    }

    /// Somebody of a tenant, whose texts begin with `slug`. `master` is a key of an owner in the master business.
    pub(crate) async fn of(world: &World, tenant: Tenant, slug: &str, master: String) -> Home {
        let rest = &tenant.rest;
        let product = json!({"name": format!("{slug} shirt"), "optionAxes": ["size"], "variants": [
            {"sku": format!("{slug}-1"), "optionValues": {"size": "M"}, "barcodes": [{"value": format!("{slug}-1")}]}]});
        let product = rest.create("/v1/products", &product).await;
        let (product, variant) =
            (text(&product["id"]).to_owned(), text(&product["variants"][0]["id"]).to_owned());
        let location = async |code: &str| {
            let location = json!({"code": format!("{slug}-{code}"), "name": format!("{slug} {code}")});
            text(&rest.create("/v1/locations", &location).await["id"]).to_owned()
        };
        let (first, second) = (location("A").await, location("B").await);
        let list = json!({"code": format!("{slug}-LIST"), "name": format!("{slug} list"), "kind": "SALE", "currency": "EUR"});
        let list = text(&rest.create("/v1/priceLists", &list).await["id"]).to_owned();
        let price = json!({"variantId": variant, "amount": "9.99", "reason": format!("{slug} reason")});
        rest.post(format!("/v1/priceLists/{list}/prices"), &price).key("price").send().await.ok(200);
        let receipt = json!({"kind": "purchase.receipt", "variantId": variant, "locationId": first,
            "quantity": "1000", "unitCost": {"currency": "EUR", "amount": "2.50"}, "note": format!("{slug} note"),
            "source": {"type": "goods_receipt", "id": format!("{slug}-GR"), "lineId": "1"}});
        rest.post("/v1/movements", &receipt).key("receipt").send().await.ok(201);

        // The log has leaves whose proofs can be asked for.
        world.audit().await;
        let door = Door::new(world, Some(&tenant.key)).await;
        let (location, other_location, price_list) = (first, second, list);
        Home {
            tenant,
            door,
            product,
            variant,
            location,
            other_location,
            price_list,
            active_user: OnceCell::new(),
            provider: OnceCell::new(),
            owners: OnceCell::new(),
            master,
            tenants: world.platform.tenant.app().clone(),
        }
    }

    /// The id of something of this tenant that the field at `pointer` can name; `prefix` says of what kind.
    pub(crate) async fn id(&self, prefix: &str, pointer: &str) -> String {
        match prefix {
            "prd" => self.product.clone(),
            "var" => self.variant.clone(),
            "prl" => self.price_list.clone(),
            "biz" => self.tenant.business.to_string(),
            "loc" if pointer.ends_with("/toLocationId") => self.other_location.clone(),
            "loc" => self.location.clone(),
            // They are used up: a key is revoked, a movement is reversed or returned.
            "key" => text(&self.new_key("viewer").await["apiKey"]["id"]).to_owned(),
            "mov" => self.sale().await,
            "rol" => text(&self.new_role().await["id"]).to_owned(),
            "asg" => {
                let (key, role) = (self.new_key("viewer").await, self.new_role().await);
                let draft = json!({"apiKeyId": key["apiKey"]["id"], "roleId": role["id"], "reach": "SELF"});
                text(&self.tenant.rest.create("/v1/assignments", &draft).await["id"]).to_owned()
            }
            "ses" => text(&self.tenant.new_session("viewer").await["session"]["id"]).to_owned(),
            "opa" => {
                let (role, slug) = (tenant::domain::Role::Viewer, &self.tenant.slug);
                let asked = self.tenants.request_operator_access(slug, "a test", role, 1).await;
                asked.expect("a tenant").id.to_string()
            }
            "idp" => self.provider().await,
            "usr" => text(&self.invite().await["user"]["id"]).to_owned(),
            "pub" => self.publication().await,
            other => panic!("a request names '{other}_…': make one in contract/home.rs"),
        }
    }

    /// Makes an API key.
    pub(crate) async fn new_key(&self, role: &str) -> Value {
        let key = json!({"name": format!("key {}", unique()), "role": role});
        self.tenant.rest.create("/v1/apiKeys", &key).await
    }

    async fn sessions_of_owners(&self) -> &[Value; 2] {
        let new = async || self.tenant.new_session("owner").await;
        self.owners.get_or_init(async || [new().await, new().await]).await
    }

    /// A user who leaves, and one who gets the keys.
    pub(crate) async fn owners(&self) -> (String, String) {
        let [leaver, heir] = self.sessions_of_owners().await;
        let id = |session: &Value| text(&session["session"]["userId"]).to_owned();
        (id(leaver), id(heir))
    }

    /// A new key that the first of them made.
    pub(crate) async fn key_of_leaver(&self) -> String {
        let [leaver, _] = self.sessions_of_owners().await;
        let key = json!({"name": format!("key {}", unique()), "role": "viewer"});
        let made = self.tenant.rest.with_key(text(&leaver["token"])).create("/v1/apiKeys", &key).await;
        text(&made["apiKey"]["id"]).to_owned()
    }

    async fn new_role(&self) -> Value {
        let role = json!({"code": format!("ROLE-{}", unique()), "permissions": ["tenant.read"]});
        self.tenant.rest.with_key(&self.master).create("/v1/roles", &role).await
    }

    /// Makes a business below the master.
    pub(crate) async fn new_business(&self) -> String {
        let business =
            json!({"legalName": format!("sub {}", unique()), "country": "DE", "baseCurrency": "EUR"});
        text(&self.tenant.rest.create("/v1/businesses", &business).await["id"]).to_owned()
    }

    async fn invite(&self) -> Value {
        let user = json!({"email": format!("home{}@example.com", unique()), "name": "Ada", "role": "viewer"});
        self.tenant.rest.create("/v1/users", &user).await
    }

    /// An identity provider: one, for there are few places. They are made in the master business.
    async fn provider(&self) -> String {
        let made = self.provider.get_or_init(async || {
            let provider = json!({"name": format!("{} login", self.tenant.slug), "clientId": "cargo-pilot",
                "issuer": "https://idp.example.com", "redirectUris": ["https://app.example.com/back"]});
            let rest = self.tenant.rest.with_key(&self.master);
            text(&rest.create("/v1/identityProviders", &provider).await["id"]).to_owned()
        });
        made.await.clone()
    }

    /// A user who has chosen a password.
    pub(crate) async fn active_user(&self) -> String {
        let made = self.active_user.get_or_init(async || self.tenant.new_user("viewer").await.0);
        made.await.clone()
    }

    /// A publication of a product of its own, of which the first stage has begun.
    async fn publication(&self) -> String {
        let number = unique();
        let product = json!({"name": format!("product {number}"), "baseUnit": "C62",
            "variants": [{"sku": format!("PUB-{number}")}]});
        let product = self.tenant.rest.create("/v1/products", &product).await;
        let draft = json!({"changes": [{"productId": product["id"], "product": {"name": format!("new {number}")}}],
            "stages": [{"businesses": [self.tenant.business.to_string()]}]});
        text(&self.tenant.rest.create("/v1/publications", &draft).await["id"]).to_owned()
    }

    async fn sale(&self) -> String {
        let number = unique().to_string();
        let draft = json!({"kind": "sale.shipment", "variantId": self.variant, "locationId": self.location,
            "quantity": "1", "source": {"type": "pos_receipt", "id": number, "lineId": "1"}});
        let posted =
            self.tenant.rest.post("/v1/movements", &draft).key(&format!("sale-{number}")).send().await;
        text(&posted.ok(201).json["movements"][0]["id"]).to_owned()
    }
}
