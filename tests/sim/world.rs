//! A world: two processes over the same stores, their weather, and what everybody there knows.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use ids::{AggregateId, BusinessId, LocationId, TenantId};
use journal::SharedStore;
use money::Currency;
use proto::catalog::v1 as catalog_pb;
use proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use proto::stock::v1 as pb;
use proto::stock::v1::stock_service_client::StockServiceClient;
use tenant::BootstrapTenant;
use tenant::domain::Costing;
use tokio_util::sync::CancellationToken;

use crate::call::named;
use crate::client::Posted;
use crate::dice::Dice;
use crate::life::Clock;
use crate::model::{Model, Verdict};
use crate::net::{AUDIT, CATALOG, Net, STOCK, Weather};
use crate::process::Process;
use crate::shelf::Shelf;

/// Processes at the same time.
pub(crate) const PROCESSES: usize = 2;
/// Variants of each tenant.
const VARIANTS: usize = 3;

/// Somebody who uses the platform.
pub(crate) struct Tenant {
    pub(crate) id: TenantId,
    pub(crate) key: String,
    /// Variants and their items.
    pub(crate) items: Vec<(String, AggregateId)>,
    /// The last one may have less than nothing.
    pub(crate) places: Vec<LocationId>,
}

pub(crate) struct World {
    pub(crate) dice: Arc<Dice>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) net: Arc<Net>,
    processes: [Mutex<Option<Arc<Process>>>; PROCESSES],
    pub(crate) tenants: Vec<Tenant>,
    model: Mutex<Model>,
    shelf: Mutex<Shelf>,
    posted: Mutex<Vec<Posted>>,
    pub(crate) storm: AtomicBool,
    /// The end, by time or by a fault.
    pub(crate) stop: CancellationToken,
    fault: Mutex<Option<String>>,
    pub(crate) calls: AtomicU64,
    pub(crate) crashes: AtomicU64,
    pub(crate) pauses: AtomicU64,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// Makes a world whose tenants have locations and variants; nothing goes wrong until it is made.
    pub(crate) async fn new(seed: u64) -> World {
        let dice = Arc::new(Dice::new(seed));
        let clock = Arc::new(Clock::new());
        let net = Arc::new(Net::new(Arc::clone(&dice)));
        let first = Process::start(&net, &clock, &dice);
        let mut model = Model::default();
        let mut tenants = Vec::new();
        for (slug, costing) in [("average", Costing::MovingAverage), ("fifo", Costing::Fifo)] {
            tenants.push(found(&first, slug, costing, &mut model).await);
        }
        let second = Process::start(&net, &clock, &dice);
        World {
            dice,
            clock,
            net,
            processes: [first, second].map(|process| Mutex::new(Some(Arc::new(process)))),
            tenants,
            model: Mutex::new(model),
            shelf: Mutex::default(),
            posted: Mutex::default(),
            storm: AtomicBool::new(false),
            stop: CancellationToken::new(),
            fault: Mutex::default(),
            calls: AtomicU64::new(0),
            crashes: AtomicU64::new(0),
            pauses: AtomicU64::new(0),
        }
    }

    /// A process, if it is up.
    pub(crate) fn process(&self, slot: usize) -> Option<Arc<Process>> {
        held(&self.processes[slot]).clone()
    }

    /// The model, when it has read what is new.
    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        let mut model = held(&self.model);
        let verdict = model.catch_up(&self.net);
        self.judge(verdict);
        model
    }

    pub(crate) fn shelf(&self) -> MutexGuard<'_, Shelf> {
        held(&self.shelf)
    }

    pub(crate) fn posted(&self) -> MutexGuard<'_, Vec<Posted>> {
        held(&self.posted)
    }

    /// A process for the end of the world.
    pub(crate) fn last_process(&self) -> Process {
        Process::start(&self.net, &self.clock, &self.dice)
    }

    /// The first fault ends the world.
    pub(crate) fn judge(&self, verdict: Verdict) {
        if let Err(fault) = verdict {
            let at = self.clock.passed();
            held(&self.fault).get_or_insert_with(|| format!("after {at:?}: {fault}"));
            self.stop.cancel();
        }
    }

    pub(crate) fn fault(&self) -> Option<String> {
        held(&self.fault).clone()
    }

    /// Keeps a process alive: when it has died, another one starts after a while.
    pub(crate) async fn supervise(self: Arc<Self>, slot: usize) {
        loop {
            let Some(process) = self.process(slot) else { return };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = process.life.dead.cancelled() => {}
            }
            self.crashes.fetch_add(1, Ordering::Relaxed);
            drop((process, held(&self.processes[slot]).take()));
            let down = self.dice.millis(100, *self.dice.pick(&[500, 5_000, 60_000]));
            tokio::time::sleep(down).await;
            let again = Process::start(&self.net, &self.clock, &self.dice);
            *held(&self.processes[slot]) = Some(Arc::new(again));
        }
    }

    /// Storms and calm days, one after the other, for so long.
    pub(crate) async fn weather(&self, lasts: Duration, calm: Duration) {
        while self.clock.passed() < lasts && !self.stop.is_cancelled() {
            let weather = Weather::of(&self.dice);
            self.net.set_weather(weather);
            self.storm.store(true, Ordering::Relaxed);
            for _ in 0..self.dice.between(3, 8) {
                self.strike(weather).await;
                tokio::time::sleep(self.dice.millis(500, 12_000)).await;
            }
            self.storm.store(false, Ordering::Relaxed);
            self.net.set_weather(Weather { read_fails: 1, commit_late: 25, ..Weather::default() });
            tokio::time::sleep(calm / 2 + self.dice.millis(0, 1_000 * calm.as_secs())).await;
        }
        self.net.set_weather(Weather::default());
    }

    /// One of the things that happen to processes and disks.
    async fn strike(&self, weather: Weather) {
        let process = self.process(self.dice.index(PROCESSES));
        let away = match self.dice.below(8) {
            0 | 1 => {
                if let Some(process) = process {
                    process.life.die_after(self.dice.below(60));
                }
                return;
            }
            2 => {
                if let Some(process) = process {
                    self.pauses.fetch_add(1, Ordering::Relaxed);
                    process
                        .life
                        .stand_still(self.dice.millis(500, *self.dice.pick(&[3_000, 40_000, 120_000])));
                }
                return;
            }
            3 => {
                if let Some(process) = process {
                    process.env.jump();
                }
                return;
            }
            4 => Weather { away: true, ..weather },
            5 => Weather { full: true, ..weather },
            _ => return,
        };
        self.net.set_weather(away);
        tokio::time::sleep(self.dice.millis(200, 40_000)).await;
        self.net.set_weather(weather);
    }

    /// Looks at everything that is stored.
    pub(crate) async fn verify(&self) -> Verdict {
        for which in 0..self.net.stores.len() {
            let store: SharedStore = self.net.stores[which].clone();
            let found = store.aggregates(None, usize::MAX).await.map_err(|error| error.to_string())?;
            let checks = found.into_iter().map(|(tenant, aggregate, head)| {
                let store = store.clone();
                async move {
                    let finding = match which {
                        STOCK => stock::verify_aggregate(&store, tenant, aggregate, &head).await,
                        AUDIT => audit::verify_aggregate(&store, tenant, aggregate, &head).await,
                        CATALOG => catalog::verify_aggregate(&store, tenant, aggregate, &head).await,
                        _ => tenant::verify_aggregate(&store, tenant, aggregate, &head).await,
                    };
                    let faults = finding.map_err(|error| error.to_string())?.faults;
                    if faults.is_empty() { Ok(()) } else { Err(format!("{aggregate}: {faults:?}")) }
                }
            });
            let verdicts: Vec<Verdict> = stream::iter(checks).buffer_unordered(1).collect().await;
            verdicts.into_iter().collect::<Verdict>()?;
        }
        Ok(())
    }
}

/// Founds a tenant with its locations and variants.
async fn found(process: &Process, slug: &str, costing: Costing, model: &mut Model) -> Tenant {
    let new = BootstrapTenant {
        slug: slug.to_owned(),
        name: slug.to_owned(),
        legal_name: slug.to_owned(),
        country: "DE".to_owned(),
        currency: Currency::parse("EUR").expect("a currency"),
        cost_scale: 2,
        costing,
    };
    let made = process.platform.tenant.app().bootstrap(new).await.expect("a tenant");
    let key = made.credential.expect("a new tenant has a key").reveal();
    let (mut items, mut places) = (Vec::new(), Vec::new());
    for at in 0..VARIANTS {
        let variant = catalog_pb::Variant { sku: format!("GOODS-{at}"), ..Default::default() };
        let product =
            catalog_pb::Product { name: "Goods".into(), variants: vec![variant], ..Default::default() };
        let request = catalog_pb::CreateProductRequest { product: Some(product) };
        let mut client = CatalogServiceClient::new(process.door());
        let product = client.create_product(named(&key, &format!("product-{at}"), request)).await;
        let variant = product.expect("a product").into_inner().variants.remove(0).id;
        items.push((variant.clone(), item(made.business, &variant)));
    }
    for at in 0..3 {
        let mut location =
            pb::Location { code: format!("PLACE-{at}"), name: "Place".into(), ..Default::default() };
        if at == 2 {
            location.set_negative_policy(pb::NegativePolicy::Allow);
        }
        let request = pb::CreateLocationRequest { location: Some(location) };
        let mut client = StockServiceClient::new(process.door());
        let location = client.create_location(named(&key, &format!("place-{at}"), request)).await;
        places.push(LocationId::parse(&location.expect("a location").into_inner().id).expect("an id"));
    }
    model.lenient.push(places[2]);
    Tenant { id: made.tenant, key, items, places }
}

fn item(business: BusinessId, variant: &str) -> AggregateId {
    stock::records::item_id(business, ids::VariantId::parse(variant).expect("an id"))
}
