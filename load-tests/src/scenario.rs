//! The runs against the server, each one kind of call over one door.

use std::fmt::Write as _;
use std::time::Duration;

use http::{Method, StatusCode};
use proto::stock::v1::{GetBalanceRequest, ListMovementsRequest, PostMovementRequest};

use crate::Error;
use crate::client::{Grpc, Rest};
use crate::load::{self, Call};
use crate::measure::Measure;
use crate::random::Random;
use crate::server::Server;
use crate::world::{HOT, ITEMS, READ_ITEMS, World, post};

/// Movements of a batch, and of a page of history.
pub(crate) const BATCH: usize = 100;
const PAGE: u32 = 50;
/// HTTP/2 connections that the callers of a gRPC run share.
const GRPC_CONNECTIONS: usize = 4;

/// How a request gets in.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Door {
    Grpc,
    Rest,
}

/// What a call does.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Work {
    /// Posts the sale of one piece.
    Post { hot: bool },
    /// Posts `BATCH` such sales in one call, all or none, or each by itself.
    Batch { hot: bool, atomic: bool },
    /// Reads the balance of an item.
    Balance,
    /// Reads the newest `PAGE` movements of an item.
    Last50,
}

impl Work {
    /// Movements that one call posts.
    pub(crate) fn movements(self) -> u64 {
        match self {
            Work::Post { .. } => 1,
            Work::Batch { .. } => BATCH as u64,
            Work::Balance | Work::Last50 => 0,
        }
    }
}

/// One run.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) door: Door,
    pub(crate) work: Work,
    /// Callers with one call in flight each.
    pub(crate) in_flight: usize,
    /// Calls offered each second; without it every caller calls as fast as it is answered.
    pub(crate) rate: Option<u32>,
}

/// All runs, in the order in which they are made: reads of history last, when there is some.
pub(crate) fn all() -> Vec<Scenario> {
    use Door::{Grpc, Rest};
    let uniform = Work::Post { hot: false };
    let hot = Work::Post { hot: true };
    let batch = |hot, atomic| Work::Batch { hot, atomic };
    let table: [(Door, Work, &[usize]); 12] = [
        (Grpc, uniform, &[1, 8, 32, 64, 128, 256]),
        (Rest, uniform, &[1, 8, 64, 256]),
        (Grpc, hot, &[1, 8, 32, 64, 128]),
        (Rest, hot, &[64]),
        (Grpc, batch(false, true), &[1, 8]),
        (Grpc, batch(true, true), &[8]),
        (Grpc, batch(false, false), &[8]),
        (Rest, batch(false, true), &[8]),
        (Grpc, Work::Balance, &[8, 64]),
        (Rest, Work::Balance, &[8]),
        (Grpc, Work::Last50, &[8]),
        (Rest, Work::Last50, &[8]),
    ];
    let mut runs: Vec<_> = table
        .into_iter()
        .flat_map(|(door, work, callers)| {
            callers.iter().map(move |&in_flight| Scenario { door, work, in_flight, rate: None })
        })
        .collect();
    runs.push(Scenario { door: Grpc, work: uniform, in_flight: OPEN_CALLERS, rate: Some(OPEN_RATE) });
    runs
}

/// Calls a second of the open loop, and the callers that share them; the same for the baseline.
pub(crate) const OPEN_RATE: u32 = 4_000;
/// See `OPEN_RATE`.
pub(crate) const OPEN_CALLERS: usize = 32;

impl Scenario {
    /// `grpc post uniform`.
    pub(crate) fn name(&self) -> String {
        let door = match self.door {
            Door::Grpc => "grpc",
            Door::Rest => "rest",
        };
        let work = match self.work {
            Work::Post { hot: false } => "post uniform",
            Work::Post { hot: true } => "post hot",
            Work::Batch { hot: false, atomic: true } => "batch uniform",
            Work::Batch { hot: true, atomic: true } => "batch hot",
            Work::Batch { hot: false, atomic: false } => "batch each uniform",
            Work::Batch { hot: true, atomic: false } => "batch each hot",
            Work::Balance => "balance",
            Work::Last50 => "last 50",
        };
        format!("{door} {work}")
    }

    /// Opens the connections of the run, for `in_flight` callers with the key of one tenant.
    pub(crate) async fn callers(
        &self,
        url: &str,
        api_key: &str,
        world: &World,
    ) -> Result<Vec<Caller>, Error> {
        let mut grpc = Vec::new();
        if self.door == Door::Grpc {
            for _ in 0..self.in_flight.min(GRPC_CONNECTIONS) {
                grpc.push(Grpc::connect(url, api_key).await?);
            }
        }
        let mut callers = Vec::with_capacity(self.in_flight);
        for number in 0..self.in_flight {
            let door = match self.door {
                Door::Grpc => OpenDoor::Grpc(grpc[number % grpc.len()].clone()),
                Door::Rest => OpenDoor::Rest(Rest::connect(url, api_key).await?),
            };
            callers.push(Caller { door, work: self.work, world: world.clone(), random: Random::fresh()? });
        }
        Ok(callers)
    }

    /// Makes the run; returns what was measured and how many movements were acknowledged.
    pub(crate) async fn run(
        &self,
        server: &Server,
        world: &World,
        lasting: Duration,
    ) -> Result<(Measure, u64), Error> {
        let callers = self.callers(&server.url, &server.api_key, world).await?;
        let cpu = server.cpu()?;
        let outcome = match self.rate {
            None => load::closed(callers, lasting).await?,
            Some(rate) => load::open(callers, load::arrivals(rate, lasting, Random::fresh()?)).await?,
        };
        let cpu = server.cpu()?.saturating_sub(cpu);
        let measure =
            Measure::of(self.name(), self.in_flight, self.rate, self.work.movements().max(1), &outcome, cpu);
        Ok((measure, outcome.calls * self.work.movements()))
    }
}

enum OpenDoor {
    Grpc(Grpc),
    Rest(Rest),
}

/// Makes the calls of a scenario.
pub(crate) struct Caller {
    door: OpenDoor,
    work: Work,
    world: World,
    random: Random,
}

impl Call for Caller {
    async fn call(&mut self) -> Result<(), Error> {
        let Self { door, work, world, random } = self;
        let key = random.key();
        match door {
            OpenDoor::Grpc(grpc) => over_grpc(grpc, *work, world, random, &key).await,
            OpenDoor::Rest(rest) => over_rest(rest, *work, world, random, &key).await,
        }
    }
}

/// The variant of an item: the hot one, or any of the first `items`.
fn variant<'a>(world: &'a World, random: &mut Random, hot: bool, items: usize) -> &'a str {
    &world.variants[if hot { HOT } else { random.below(items) }]
}

async fn over_grpc(
    grpc: &Grpc,
    work: Work,
    world: &World,
    random: &mut Random,
    key: &str,
) -> Result<(), Error> {
    match work {
        Work::Post { hot } => {
            let movement = Some(world.sale(variant(world, random, hot, ITEMS), key, "1"));
            let request = grpc.write(PostMovementRequest { movement }, key)?;
            let posting = grpc.stock().post_movement(request).await?.into_inner();
            expect(posting.movements.len() == 1 && !posting.replayed, "one new movement")
        }
        Work::Batch { hot, atomic } => {
            let sale = |line: usize| world.sale(variant(world, random, hot, ITEMS), key, &line.to_string());
            post(grpc, (1..=BATCH).map(sale).collect(), atomic, key).await
        }
        Work::Balance => {
            let variant_id = variant(world, random, false, ITEMS).to_owned();
            let request = grpc.read(GetBalanceRequest { variant_id });
            let balance = grpc.stock().get_balance(request).await?.into_inner();
            expect(balance.sequence >= 1 && balance.locations.len() == 1, "a balance at one location")
        }
        Work::Last50 => {
            let variant_id = variant(world, random, false, READ_ITEMS).to_owned();
            let request =
                grpc.read(ListMovementsRequest { variant_id, page_size: PAGE, ..Default::default() });
            let page = grpc.stock().list_movements(request).await?.into_inner();
            expect(page.movements.len() == PAGE as usize, "50 movements")
        }
    }
}

async fn over_rest(
    rest: &mut Rest,
    work: Work,
    world: &World,
    random: &mut Random,
    key: &str,
) -> Result<(), Error> {
    match work {
        Work::Post { hot } => {
            let body = sale_json(world, variant(world, random, hot, ITEMS), key, 1);
            rest.send(Method::POST, "/v1/movements", Some(key), body, StatusCode::CREATED).await?;
            Ok(())
        }
        Work::Batch { hot, atomic } => {
            let mut body = format!(r#"{{"atomic":{atomic},"omitMovements":true,"movements":["#);
            for line in 1..=BATCH {
                let comma = if line == 1 { "" } else { "," };
                let sale = sale_json(world, variant(world, random, hot, ITEMS), key, line);
                write!(body, "{comma}{sale}")?;
            }
            body.push_str("]}");
            // 207 when any line failed.
            rest.send(Method::POST, "/v1/movements:batchCreate", Some(key), body, StatusCode::OK).await?;
            Ok(())
        }
        Work::Balance => {
            let path = format!("/v1/balances/{}", variant(world, random, false, ITEMS));
            rest.send(Method::GET, &path, None, String::new(), StatusCode::OK).await?;
            Ok(())
        }
        Work::Last50 => {
            let variant = variant(world, random, false, READ_ITEMS);
            let path = format!("/v1/movements?variantId={variant}&pageSize={PAGE}");
            rest.send(Method::GET, &path, None, String::new(), StatusCode::OK).await?;
            Ok(())
        }
    }
}

fn sale_json(world: &World, variant: &str, document: &str, line: usize) -> String {
    format!(
        r#"{{"kind":"sale.shipment","variantId":"{variant}","locationId":"{}","quantity":"1","source":{{"type":"pos_receipt","id":"{document}","lineId":"{line}"}}}}"#,
        world.location
    )
}

fn expect(holds: bool, what: &str) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(format!("the answer is not {what}").into()) }
}
