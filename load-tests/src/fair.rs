//! One tenant alone, and beside another one that sends many times its load.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::client::Grpc;
use crate::goals::spread;
use crate::load::{self, Call};
use crate::measure::Measure;
use crate::random::Random;
use crate::scenario::{Caller, Door, Scenario, Work};
use crate::server::{Folder, Server, make_tenant};
use crate::world::World;

/// Calls that the victim may have in flight; its open loop offers its rate whatever is in flight.
const VICTIM_CALLERS: usize = 32;
/// The same of the aggressor: more than the server lets wait for one tenant.
const AGGRESSOR_CALLERS: usize = 2_000;
/// How long the aggressor is there before the victim is measured, and after.
const MARGIN: Duration = Duration::from_secs(1);

/// How much load.
#[derive(Args)]
pub(crate) struct Shape {
    /// Calls a second of the victim, each posting one movement, at Poisson times.
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// The aggressor offers so many times this.
    #[arg(long, default_value_t = 20)]
    times: u32,
    /// Rounds of two phases: alone, then beside the aggressor.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of each phase.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Priority of the aggressor's generator, 0 to 19, so that its work is not taken for the server's: callers
    /// have machines of their own.
    #[arg(long, default_value_t = 10)]
    nice: u8,
}

/// What the process of the aggressor is told.
#[derive(Args)]
pub(crate) struct Aggress {
    #[arg(long)]
    url: String,
    #[arg(long)]
    rate: u32,
}

/// What the aggressor did in a phase.
#[derive(Serialize, Deserialize)]
struct Pushed {
    answered_per_second: f64,
    shed_per_second: f64,
    p99_us: f64,
}

/// Figures of a round.
struct Round {
    alone: Measure,
    beside: Measure,
    pushed: Pushed,
}

/// Runs the rounds on a new server below `parent` and returns the report. A call of the victim that is not
/// answered as it should ends it with an error.
pub(crate) async fn measure(binary: &Path, parent: &Path, shape: &Shape) -> Result<String, Error> {
    let folder = Folder::new(parent)?;
    let aggressor_key = make_tenant(binary, &folder, "aggressor")?;
    let server = Server::start(binary, &folder)?;
    let mut random = Random::fresh()?;
    let grpc = Grpc::connect(&server.url, &server.api_key).await?;
    let world = World::make(&grpc, &mut random).await?;
    let mut aggressor = Aggressor::start(&server.url, &aggressor_key, shape)?;

    let victim = Scenario {
        door: Door::Grpc,
        work: Work::Post { hot: false },
        in_flight: VICTIM_CALLERS,
        rate: Some(shape.rate),
    };
    let lasting = Duration::from_secs(shape.seconds);
    victim.run(&server, &world, MARGIN * 2).await?; // warm
    aggressor.begin(MARGIN * 2)?;
    aggressor.end()?;
    let mut rounds = Vec::new();
    for _ in 0..shape.rounds {
        let (alone, _) = victim.run(&server, &world, lasting).await?;
        aggressor.begin(lasting + MARGIN * 2)?;
        tokio::time::sleep(MARGIN).await;
        let (beside, _) = victim.run(&server, &world, lasting).await?;
        let pushed = aggressor.end()?;
        eprintln!("victim p99 {:.0} µs alone, {:.0} µs beside the aggressor", alone.p99_us, beside.p99_us);
        rounds.push(Round { alone, beside, pushed });
    }
    drop(aggressor);
    server.stop()?;
    report(&rounds, shape)
}

fn report(rounds: &[Round], shape: &Shape) -> Result<String, Error> {
    let mut out = String::new();
    writeln!(
        out,
        "\nVictim {}/s, aggressor {}/s offered; rounds: {}, {} s a phase. Median [least to greatest].\n",
        shape.rate,
        shape.rate * shape.times,
        rounds.len(),
        shape.seconds
    )?;
    writeln!(out, "| | alone | beside the aggressor | ratio |\n| --- | --- | --- | --- |")?;
    for (name, figure) in [("p50", (|m| m.p50_us) as fn(&Measure) -> f64), ("p99", |m| m.p99_us)] {
        let alone = row(rounds, |round| figure(&round.alone) / 1_000.0);
        let beside = row(rounds, |round| figure(&round.beside) / 1_000.0);
        let ratio = row(rounds, |round| figure(&round.beside) / figure(&round.alone));
        writeln!(out, "| victim {name} | {alone} ms | {beside} ms | {ratio} |")?;
    }
    let answered = row(rounds, |round| round.pushed.answered_per_second);
    let shed = row(rounds, |round| round.pushed.shed_per_second);
    let slow = row(rounds, |round| round.pushed.p99_us / 1_000.0);
    writeln!(out, "\nAggressor: {answered} answered a second, {shed} shed a second, p99 {slow} ms.")?;
    Ok(out)
}

fn row(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> String {
    let figures: Vec<f64> = rounds.iter().map(figure).collect();
    spread(&figures).map_or_else(String::new, |(median, least, greatest)| {
        format!("{median:.2} [{least:.2} to {greatest:.2}]")
    })
}

/// The process of the aggressor: a line with milliseconds begins a phase, a line of JSON ends it.
struct Aggressor {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Aggressor {
    fn start(url: &str, api_key: &str, shape: &Shape) -> Result<Self, Error> {
        let mut child = Command::new("nice")
            .args(["-n", &shape.nice.to_string()])
            .arg(std::env::current_exe()?)
            .args(["aggress", "--url", url, "--rate", &(shape.rate * shape.times).to_string()])
            .env("CARGO_PILOT_KEY", api_key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().ok_or("no standard input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        let mut aggressor = Self { child, orders, answers };
        aggressor.line()?; // it is ready
        Ok(aggressor)
    }

    fn begin(&mut self, lasting: Duration) -> Result<(), Error> {
        Ok(writeln!(self.orders, "{}", lasting.as_millis())?)
    }

    fn end(&mut self) -> Result<Pushed, Error> {
        Ok(serde_json::from_str(&self.line()?)?)
    }

    fn line(&mut self) -> Result<String, Error> {
        let mut line = String::new();
        match self.answers.read_line(&mut line)? {
            0 => Err("the aggressor ended".into()),
            _ => Ok(line),
        }
    }
}

impl Drop for Aggressor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process of the aggressor. Its key comes in `CARGO_PILOT_KEY`.
pub(crate) async fn aggress(aggress: &Aggress) -> Result<(), Error> {
    let api_key = std::env::var("CARGO_PILOT_KEY")?;
    let grpc = Grpc::connect(&aggress.url, &api_key).await?;
    let world = World::make(&grpc, &mut Random::fresh()?).await?;
    let scenario = Scenario {
        door: Door::Grpc,
        work: Work::Post { hot: false },
        in_flight: AGGRESSOR_CALLERS,
        rate: Some(aggress.rate),
    };
    println!("ready");
    for line in io::stdin().lock().lines() {
        let lasting = Duration::from_millis(line?.trim().parse()?);
        let shed = Arc::new(AtomicU64::new(0));
        let callers = scenario.callers(&aggress.url, &api_key, &world).await?;
        let pushy = callers.into_iter().map(|caller| Pushy { caller, shed: Arc::clone(&shed) });
        let schedule = load::arrivals(aggress.rate, lasting, Random::fresh()?);
        let end = Instant::now() + lasting;
        // What is due and not yet sent when the phase is over is not sent any more.
        let outcome = load::open(pushy.collect(), schedule.take_while(move |_| Instant::now() < end)).await?;
        let seconds = outcome.elapsed.as_secs_f64();
        let shed = shed.load(Ordering::Relaxed);
        let pushed = Pushed {
            answered_per_second: outcome.calls.saturating_sub(shed) as f64 / seconds,
            shed_per_second: shed as f64 / seconds,
            p99_us: outcome.latencies.value_at_quantile(0.99) as f64 / 1_000.0,
        };
        println!("{}", serde_json::to_string(&pushed)?);
    }
    Ok(())
}

/// Takes "come back later" for an answer.
struct Pushy {
    caller: Caller,
    shed: Arc<AtomicU64>,
}

impl Call for Pushy {
    async fn call(&mut self) -> Result<(), Error> {
        match self.caller.call().await {
            Err(error) if is_shed(&error) => {
                self.shed.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            answered => answered,
        }
    }
}

fn is_shed(error: &Error) -> bool {
    error.downcast_ref::<tonic::Status>().is_some_and(|status| status.code() == tonic::Code::Unavailable)
}
