//! Runs a scenario once for each way in which the steps of its processes can follow each other.
//!
//! A step is one operation of a store. A process waits before each; the explorer lets one go at a time. It may
//! leave a process for another, crash it for good, or lose an answer, each as often as the bounds allow. Runs
//! are repeated with other choices until all are made.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How often things may happen in one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Another process goes on although the last one could, or a later step of a process before an earlier one.
    pub(crate) switches: usize,
    /// A process dies.
    pub(crate) crashes: usize,
    /// An operation is lost, or its answer, or it happens later.
    pub(crate) faults: usize,
}

/// Runs beyond which a scenario is too large to be explored.
const RUNS_MAX: usize = 400_000;
/// Polls after which nobody moves any more without the explorer.
const QUIET: usize = 6;

/// What becomes of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Go,
    /// It happens, and the answer is lost.
    AnswerLost,
    /// It does not happen.
    Lost,
    /// It happens later, at any time.
    Late,
}

type Late = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Waiting {
    process: usize,
    /// Whether the operation writes: only then it matters how it is lost.
    writes: bool,
    go: oneshot::Sender<Verdict>,
}

/// One run.
#[derive(Default)]
pub(crate) struct World {
    waiting: Mutex<Vec<Waiting>>,
    late: Mutex<Vec<Late>>,
    dead: Mutex<Vec<usize>>,
    /// Nothing is chosen any more: everybody goes on at once.
    calm: Mutex<bool>,
}

impl World {
    /// Waits until the explorer lets this step go. Never ends if the process dies.
    pub(crate) async fn step(&self, process: usize, writes: bool) -> Verdict {
        if *self.calm.lock() {
            return Verdict::Go;
        }
        let (go, verdict) = oneshot::channel();
        if !self.dead.lock().contains(&process) {
            self.waiting.lock().push(Waiting { process, writes, go });
        }
        match verdict.await {
            Ok(verdict) => verdict,
            Err(_) => std::future::pending().await,
        }
    }

    /// Lets one of the steps go that somebody waits for, without an explorer.
    pub(crate) fn let_one_go(&self) {
        let mut waiting = self.waiting.lock();
        if !waiting.is_empty() {
            let _ = waiting.remove(0).go.send(Verdict::Go);
        }
    }

    pub(crate) fn happens_later(&self, operation: impl Future<Output = ()> + Send + 'static) {
        self.late.lock().push(Box::pin(operation));
    }
}

/// The choices of a run: those of an earlier run up to a point, then always the first.
#[derive(Default)]
struct Choices {
    made: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    fn choose(&mut self, options: usize) -> usize {
        if self.at == self.made.len() {
            self.made.push((0, options));
        }
        let (chosen, among) = self.made[self.at];
        assert_eq!(among, options, "a run is not repeatable");
        self.at += 1;
        chosen
    }

    /// Moves on to the next way; false if all were gone.
    fn next(&mut self) -> bool {
        self.at = 0;
        while let Some((chosen, among)) = self.made.pop() {
            if chosen + 1 < among {
                self.made.push((chosen + 1, among));
                return true;
            }
        }
        false
    }
}

#[derive(Clone, Copy)]
enum Way {
    Step(usize, Verdict),
    Crash(usize),
    Late(usize),
}

/// Lets `tasks`, one for each process, run under choices until all have ended or died.
async fn run(world: &World, tasks: Vec<JoinHandle<()>>, bounds: Bounds, choices: &mut Choices) {
    let mut left = bounds;
    let mut last = 0;
    loop {
        quiet(world).await;
        let dead = world.dead.lock().clone();
        let ended = tasks.iter().enumerate().all(|(at, task)| dead.contains(&at) || task.is_finished());
        if ended {
            break;
        }
        let options = options(world, left, last);
        if options.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await; // somebody waits for a clock
            continue;
        }
        let chosen = if options.len() == 1 { 0 } else { choices.choose(options.len()) };
        match options[chosen] {
            Way::Step(at, verdict) => {
                left.switches -= usize::from(!is_free(&world.waiting.lock(), at, last));
                let waiting = world.waiting.lock().remove(at);
                left.faults -= usize::from(verdict != Verdict::Go);
                last = waiting.process;
                let _ = waiting.go.send(verdict);
            }
            Way::Crash(process) => {
                left.crashes -= 1;
                world.dead.lock().push(process);
                world.waiting.lock().retain(|waiting| waiting.process != process);
            }
            Way::Late(at) => {
                let operation = world.late.lock().remove(at);
                operation.await;
            }
        }
    }
    *world.calm.lock() = true;
    let late = std::mem::take(&mut *world.late.lock());
    for operation in late {
        operation.await;
    }
    for (at, task) in tasks.into_iter().enumerate() {
        if world.dead.lock().contains(&at) {
            task.abort();
        } else if let Err(error) = task.await {
            resume_unwind(error.into_panic());
        }
    }
}

/// Lets everybody run until nobody can without being let go.
async fn quiet(world: &World) {
    let mut seen = (usize::MAX, 0);
    for _ in 0..1000 {
        let waiting = world.waiting.lock().len();
        seen = if seen.0 == waiting { (waiting, seen.1 + 1) } else { (waiting, 0) };
        if seen.1 >= QUIET {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Whether a step is what happens without a switch: the oldest of the process that went on last, or of any
/// process if that one has none.
fn is_free(waiting: &[Waiting], at: usize, last: usize) -> bool {
    let process = waiting[at].process;
    let goes_on = process == last || waiting.iter().all(|other| other.process != last);
    goes_on && waiting[..at].iter().all(|older| older.process != process)
}

/// What can happen next; first what goes on without a switch, a crash or a fault.
fn options(world: &World, left: Bounds, last: usize) -> Vec<Way> {
    let waiting = world.waiting.lock();
    let mut order: Vec<usize> = (0..waiting.len()).collect();
    order.sort_by_key(|at| !is_free(&waiting, *at, last));
    let mut options = Vec::new();
    let mut faults = Vec::new();
    for at in order {
        if left.switches == 0 && !is_free(&waiting, at, last) {
            continue;
        }
        options.push(Way::Step(at, Verdict::Go));
        if left.faults > 0 {
            faults.push(Way::Step(at, Verdict::Lost));
            if waiting[at].writes {
                faults.push(Way::Step(at, Verdict::AnswerLost));
                faults.push(Way::Step(at, Verdict::Late));
            }
        }
    }
    options.extend(faults);
    if left.crashes > 0 {
        let mut processes: Vec<_> = waiting.iter().map(|waiting| waiting.process).collect();
        processes.dedup();
        options.extend(processes.into_iter().map(Way::Crash));
    }
    options.extend((0..world.late.lock().len()).map(Way::Late));
    options
}

/// Explores a scenario. `begin` starts the processes of one run; `end` looks at what is left once all have
/// ended or died, and panics if it is wrong. Returns in how many ways it went.
pub(crate) fn explore<S, E>(
    bounds: Bounds,
    begin: impl AsyncFn(&Arc<World>) -> (S, Vec<JoinHandle<()>>),
    end: impl Fn(S) -> E,
) -> usize
where
    E: Future<Output = ()>,
{
    let mut choices = Choices::default();
    for runs in 1..=RUNS_MAX {
        let done = catch_unwind(AssertUnwindSafe(|| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
            runtime.block_on(async {
                let world = Arc::new(World::default());
                let (state, tasks) = begin(&world).await;
                run(&world, tasks, bounds, &mut choices).await;
                end(state).await;
            });
        }));
        if let Err(panic) = done {
            eprintln!("run {runs}, choices {:?}", choices.made);
            resume_unwind(panic);
        }
        if !choices.next() {
            return runs;
        }
    }
    panic!("more than {RUNS_MAX} ways: choose narrower bounds");
}

/// Whether exploring finds something wrong: the proof that a check can fail.
pub(crate) fn finds_fault(explore: impl FnOnce() -> usize) -> bool {
    catch_unwind(AssertUnwindSafe(explore)).is_err()
}
