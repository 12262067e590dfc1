//! Somebody who works with stock and does not give up easily.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join;
use proto::stock::v1 as pb;
use proto::stock::v1::stock_service_client::StockServiceClient;
use quantity::Quantity;
use stock::domain::kind::Kind;

use crate::call::{Failure, named, problem};
use crate::model::{Answer, Attempt, Line, OpId};
use crate::process::Process;
use crate::world::{PROCESSES, Tenant, World};

/// Attempts before a client walks away.
const ATTEMPTS_MAX: usize = 14;
/// Acknowledged postings that the world remembers, to repeat them, look at them and take them back.
const POSTED_MAX: usize = 200;

/// What a client sends.
#[derive(Clone)]
pub(crate) enum Ask {
    Post(Box<pb::PostMovementRequest>),
    Batch(pb::BatchPostMovementsRequest),
    Reverse(pb::ReverseMovementRequest),
}

/// Operations that travel in one request, under one key.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) tenant: usize,
    pub(crate) ops: Vec<OpId>,
    pub(crate) key: String,
    pub(crate) ask: Ask,
}

/// An acknowledged posting.
#[derive(Clone)]
pub(crate) struct Posted {
    pub(crate) wish: Wish,
    pub(crate) line: Line,
    pub(crate) movement: pb::Movement,
}

/// A life full of work.
pub(crate) async fn work(world: Arc<World>) {
    while !world.stop.is_cancelled() {
        world.think().await;
        match world.dice.below(100) {
            0..55 => Box::pin(world.post()).await,
            55..62 => Box::pin(world.batch()).await,
            62..69 => Box::pin(world.reverse()).await,
            69..80 => Box::pin(world.look()).await,
            80..85 => Box::pin(world.list()).await,
            85..90 => Box::pin(world.repeat()).await,
            90..93 => Box::pin(world.misuse_a_key()).await,
            _ => Box::pin(world.arrange()).await,
        }
    }
}

impl World {
    async fn think(&self) {
        let think = match self.storm.load(Ordering::Relaxed) {
            true => self.dice.millis(1, *self.dice.pick(&[20, 1_000, 3_000])),
            false => self.dice.millis(1_000, *self.dice.pick(&[20_000, 240_000])),
        };
        self.rest(think).await;
    }

    /// Rests, but not beyond the end.
    async fn rest(&self, time: Duration) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(time) => {}
        }
    }

    pub(crate) fn any_tenant(&self) -> (usize, &Tenant) {
        let at = self.dice.index(self.tenants.len());
        (at, &self.tenants[at])
    }

    /// A process that is up, usually the one at home.
    pub(crate) fn any_process(&self, home: usize) -> Option<Arc<Process>> {
        let slot = if self.dice.permille(700) { home % PROCESSES } else { self.dice.index(PROCESSES) };
        self.process(slot)
    }

    /// A draft of a movement, and what it must lead to; the op comes into its note later.
    fn draft(&self, tenant: &Tenant) -> (pb::MovementDraft, Line) {
        let dice = &self.dice;
        let (variant, item) = dice.pick(&tenant.items);
        let place = *dice.pick(&tenant.places);
        let whole = dice.between(1, *dice.pick(&[3, 12]));
        let mut draft = pb::MovementDraft {
            variant_id: variant.clone(),
            location_id: place.to_string(),
            quantity: whole.to_string(),
            ..Default::default()
        };
        let amount = Quantity::whole(whole as i64).micros();
        let source = |kind: &str| pb::Source { r#type: kind.into(), id: "D".into(), ..Default::default() };
        let (kind, kind_of_source, legs) = match dice.below(20) {
            0..8 => (Kind::PurchaseReceipt, "goods_receipt", vec![(place, amount)]),
            8..15 => (Kind::SaleShipment, "pos_receipt", vec![(place, -amount)]),
            15..18 => {
                let to = *dice.pick(&tenant.places);
                let to = if to == place { tenant.places[usize::from(place == tenant.places[0])] } else { to };
                draft.to_location_id = to.to_string();
                (Kind::TransferDirect, "transfer", vec![(place, -amount), (to, amount)])
            }
            _ => {
                draft.reason_code = "recount".into();
                (Kind::WriteOffLoss, "write_off", vec![(place, -amount)])
            }
        };
        if kind == Kind::PurchaseReceipt {
            let cost =
                proto::api::v1::Money { currency: "EUR".into(), amount: dice.between(1, 9).to_string() };
            draft.unit_cost = Some(cost);
        }
        draft.kind = kind.code().into();
        draft.source = Some(source(kind_of_source));
        (draft, Line { item: (tenant.id, *item), kind, legs, reverses: None })
    }

    async fn post(&self) {
        let (at, tenant) = self.any_tenant();
        let (mut draft, line) = self.draft(tenant);
        let op = self.model().plan(vec![line]);
        draft.note = format!("{op}/0");
        let ask = Ask::Post(Box::new(pb::PostMovementRequest { movement: Some(draft) }));
        let wish = Wish { tenant: at, ops: vec![op], key: format!("op-{op}"), ask };
        if self.dice.permille(40) {
            Box::pin(self.twice_at_once(&wish)).await
        } else {
            Box::pin(self.pursue(&wish)).await
        }
    }

    async fn batch(&self) {
        let (at, tenant) = self.any_tenant();
        let atomic = self.dice.permille(500);
        let drafts: Vec<_> = (0..self.dice.between(2, 5)).map(|_| self.draft(tenant)).collect();
        let (mut movements, lines): (Vec<_>, Vec<_>) = drafts.into_iter().unzip();
        let ops = {
            let mut model = self.model();
            match atomic {
                true => vec![model.plan(lines)],
                false => lines.into_iter().map(|line| model.plan(vec![line])).collect(),
            }
        };
        for (at, draft) in movements.iter_mut().enumerate() {
            draft.note = if atomic { format!("{}/{at}", ops[0]) } else { format!("{}/0", ops[at]) };
        }
        let key = format!("batch-{}", ops[0]);
        let ask = Ask::Batch(pb::BatchPostMovementsRequest { movements, atomic, omit_movements: false });
        self.pursue(&Wish { tenant: at, ops, key, ask }).await;
    }

    async fn reverse(&self) {
        let Some(posted) = self.any_posted() else { return };
        if posted.line.reverses.is_some() {
            return;
        }
        let (kind, item) = (posted.line.kind, posted.line.item);
        let legs = posted.line.legs.iter().rev().map(|(place, quantity)| (*place, -quantity)).collect();
        let line = Line { item, kind, legs, reverses: Some(posted.movement.sequence) };
        let op = self.model().plan(vec![line]);
        let request = pb::ReverseMovementRequest {
            movement_id: posted.movement.id.clone(),
            reason_code: "mistake".into(),
            note: format!("{op}/0"),
        };
        let ask = Ask::Reverse(request);
        let wish = Wish { tenant: posted.wish.tenant, ops: vec![op], key: format!("op-{op}"), ask };
        self.pursue(&wish).await;
    }

    /// Asks until there is an answer.
    async fn pursue(&self, wish: &Wish) {
        let home = wish.ops[0];
        let mut pause = Duration::from_millis(50);
        for _ in 0..ATTEMPTS_MAX {
            if let Some(process) = self.any_process(home) {
                let settled = self.attempt(&process, wish).await;
                let final_word = settled && !self.dice.permille(60);
                if final_word || self.stop.is_cancelled() || self.dice.permille(30) {
                    return;
                }
            }
            self.rest(pause + self.dice.millis(0, 500)).await;
            pause = (pause * 2).min(Duration::from_secs(20));
        }
    }

    /// The same request twice at the same time, at one process or at two.
    async fn twice_at_once(&self, wish: &Wish) {
        let other = self.dice.index(PROCESSES);
        let (Some(one), Some(other)) = (self.process(0), self.process(other)) else { return };
        Box::pin(join(self.attempt(&one, wish), self.attempt(&other, wish))).await;
        self.pursue(wish).await;
    }

    /// One attempt; true if all its operations have an answer.
    async fn attempt(&self, process: &Process, wish: &Wish) -> bool {
        let attempts: Vec<Attempt> = {
            let mut model = self.model();
            wish.ops.iter().map(|op| model.begin(*op)).collect()
        };
        let answers = self.send(process, wish).await;
        let mut settled = true;
        let mut model = self.model();
        for ((op, attempt), answer) in wish.ops.iter().zip(attempts).zip(answers) {
            settled &= matches!(answer, Answer::Done(_) | Answer::Refused(_));
            let verdict = model.end(attempt, &answer);
            self.judge(verdict);
            if let Answer::Done(lines) = answer {
                for ((movements, _), line) in lines.into_iter().zip(&model.ops[*op].lines) {
                    let Some(movement) = movements.into_iter().next() else { continue };
                    self.remember(Posted { wish: wish.clone(), line: line.clone(), movement });
                }
            }
        }
        settled
    }

    async fn send(&self, process: &Process, wish: &Wish) -> Vec<Answer> {
        let mut client = StockServiceClient::new(process.door());
        let credential = &self.tenants[wish.tenant].key;
        let one = |answered: Result<pb::Posting, Failure>| match answered {
            Ok(posting) => vec![Answer::Done(vec![(posting.movements, posting.replayed)])],
            Err(failure) => vec![self.answer(failure)],
        };
        match wish.ask.clone() {
            Ask::Post(message) => {
                let request = named(credential, &wish.key, *message);
                one(self.call(process, client.post_movement(request)).await)
            }
            Ask::Reverse(message) => {
                let request = named(credential, &wish.key, message);
                one(self.call(process, client.reverse_movement(request)).await)
            }
            Ask::Batch(message) => {
                let atomic = message.atomic;
                let request = named(credential, &wish.key, message);
                match self.call(process, client.batch_post_movements(request)).await {
                    Ok(answer) if atomic => vec![self.all(answer.results)],
                    Ok(answer) => answer.results.into_iter().map(|result| self.all(vec![result])).collect(),
                    Err(failure) => {
                        let first = self.answer(failure);
                        let others = wish.ops[1..].iter().map(|_| match &first {
                            Answer::NoEffect => Answer::NoEffect,
                            Answer::Refused(refused) => Answer::Refused(refused.clone()),
                            _ => Answer::Unknown,
                        });
                        let others: Vec<_> = others.collect();
                        [first].into_iter().chain(others).collect()
                    }
                }
            }
        }
    }

    /// The results of one operation.
    fn all(&self, results: Vec<pb::PostingResult>) -> Answer {
        let mut lines = Vec::new();
        for result in results {
            match result.result {
                Some(pb::posting_result::Result::Posting(posting)) => {
                    lines.push((posting.movements, posting.replayed));
                }
                Some(pb::posting_result::Result::Problem(why)) => {
                    return self.answer(problem(why));
                }
                None => return self.answer(Failure::Broken("a result is empty".into())),
            }
        }
        Answer::Done(lines)
    }

    fn remember(&self, posted: Posted) {
        let mut all = self.posted();
        if all.len() < POSTED_MAX {
            all.push(posted);
        } else {
            let at = self.dice.index(POSTED_MAX);
            all[at] = posted;
        }
    }

    pub(crate) fn any_posted(&self) -> Option<Posted> {
        let all = self.posted();
        (!all.is_empty()).then(|| self.dice.pick(&all).clone())
    }

    /// The same request once more, long after its answer: the same answer.
    async fn repeat(&self) {
        let Some(posted) = self.any_posted() else { return };
        let home = self.dice.index(PROCESSES);
        if let Some(process) = self.any_process(home) {
            self.attempt(&process, &posted.wish).await;
        }
    }

    /// Another request under a key that has its answer.
    async fn misuse_a_key(&self) {
        let Some(Posted { mut wish, .. }) = self.any_posted() else { return };
        let Ask::Post(request) = &mut wish.ask else { return };
        let Some(draft) = &mut request.movement else { return };
        draft.quantity = format!("1{}", draft.quantity);
        let Some(process) = self.any_process(wish.ops[0]) else { return };
        let answers = self.send(&process, &wish).await;
        let _read = self.model();
        for answer in answers {
            match answer {
                Answer::NoEffect | Answer::Unknown => {}
                Answer::Refused(refused) if refused.reason == "IDEMPOTENCY_CONFLICT" => {}
                Answer::Refused(refused) => {
                    self.judge(Err(format!("another request under a key: {refused:?}")))
                }
                Answer::Done(_) => self.judge(Err("another request under a key was answered".into())),
            }
        }
    }
}
