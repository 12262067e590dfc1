//! Runs worlds, and says which seed was the end of one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::client::work;
use crate::errors;
use crate::follower::all_is_followed;
use crate::net::Weather;
use crate::world::{PROCESSES, World};

/// How a world is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Simulated time.
    pub(crate) lasts: Duration,
    /// About as long is it calm between two storms.
    pub(crate) calm: Duration,
    pub(crate) clients: usize,
}

/// What happened in a world.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) simulated: Duration,
    pub(crate) calls: u64,
    pub(crate) operations: u64,
    pub(crate) commits: u64,
    pub(crate) faults: u64,
    pub(crate) applied_late: u64,
    pub(crate) crashes: u64,
    pub(crate) pauses: u64,
    pub(crate) surprises: u64,
}

impl Report {
    pub(crate) fn add(&mut self, other: &Report) {
        self.simulated += other.simulated;
        self.calls += other.calls;
        self.operations += other.operations;
        self.commits += other.commits;
        self.faults += other.faults;
        self.applied_late += other.applied_late;
        self.crashes += other.crashes;
        self.pauses += other.pauses;
        self.surprises += other.surprises;
    }
}

/// Lives through the world of a seed.
///
/// # Errors
/// What is wrong in it.
pub(crate) fn world(seed: u64, plan: Plan) -> Result<Report, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let errors = errors::Errors::default();
    let _listening = tracing::subscriber::set_default(errors.subscriber());
    let lived = runtime.expect("a runtime").block_on(live(seed, plan));
    match (lived, errors.first()) {
        (Ok(_), Some(error)) => Err(format!("an error was logged: {error}")),
        (Err(what), Some(error)) => Err(format!("{what}; an error was logged: {error}")),
        (lived, None) => lived,
    }
}

async fn live(seed: u64, plan: Plan) -> Result<Report, String> {
    let world = Arc::new(World::new(seed).await);
    let mut tasks = JoinSet::new();
    for slot in 0..PROCESSES {
        tasks.spawn(Arc::clone(&world).supervise(slot));
    }
    let mut clients = JoinSet::new();
    for _ in 0..plan.clients {
        clients.spawn(work(Arc::clone(&world)));
    }
    world.weather(plan.lasts, plan.calm).await;
    world.stop.cancel();
    while let Some(client) = clients.join_next().await {
        client.map_err(|error| format!("a client: {error}"))?;
    }
    while let Some(task) = tasks.join_next().await {
        task.map_err(|error| format!("a supervisor: {error}"))?;
    }
    if let Some(fault) = world.fault() {
        return Err(fault);
    }
    // Whatever is still under way arrives.
    world.net.set_weather(Weather::default());
    tokio::time::sleep(Duration::from_secs(300)).await;
    finish(&world).await?;
    let faults = world.net.faults();
    let model = world.model();
    Ok(Report {
        simulated: world.clock.passed(),
        calls: world.calls.load(Ordering::Relaxed),
        operations: model.ops.len() as u64,
        commits: faults.commits,
        faults: faults.sum(),
        applied_late: faults.applied_late,
        crashes: world.crashes.load(Ordering::Relaxed),
        pauses: world.pauses.load(Ordering::Relaxed),
        surprises: model.surprises,
    })
}

/// Everything is calm: what is shown is what was promised, and what is stored adds up.
async fn finish(world: &World) -> Result<(), String> {
    let process = world.last_process();
    for tenant in &world.tenants {
        for item in 0..tenant.items.len() {
            let shown = world.balance_of(&process, tenant, item).await
                && world.newest_of(&process, tenant, item).await;
            if !shown && world.fault().is_none() {
                return Err("nothing is wrong, and a read fails".to_owned());
            }
        }
    }
    let verdict = world.model().close();
    verdict?;
    if let Some(fault) = world.fault() {
        return Err(fault);
    }
    if world.net.followed {
        all_is_followed(world, &process).await?;
    }
    world.verify().await
}

/// Lives through the worlds of `seeds` on all cores.
///
/// # Errors
/// The first seed whose world is wrong, and what is.
pub(crate) fn worlds(
    seeds: impl Iterator<Item = u64> + Send,
    plan: Plan,
    threads: usize,
) -> Result<Report, (u64, String)> {
    let (seeds, total) = (Mutex::new(seeds), Mutex::new(Report::default()));
    let (failure, lived) = (Mutex::new(None), AtomicU64::new(0));
    let next = || {
        let failed = failure.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if failed { None } else { seeds.lock().unwrap_or_else(PoisonError::into_inner).next() }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = next() {
                    match caught(seed, plan) {
                        Ok(report) => total.lock().unwrap_or_else(PoisonError::into_inner).add(&report),
                        Err(what) => {
                            failure
                                .lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .get_or_insert((seed, what));
                        }
                    }
                    lived.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(failure) => Err(failure),
        None => Ok(total.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

/// A world in which something panics is wrong too.
pub(crate) fn caught(seed: u64, plan: Plan) -> Result<Report, String> {
    let lived = std::panic::catch_unwind(|| world(seed, plan));
    lived.unwrap_or_else(|_| Err("something panicked".to_owned()))
}
