//! Requests at the public door, and what is denied there and behind it.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{Histogram, IntCounter};

use crate::class::Class;
use crate::metrics::{counter, durations};
use crate::table;

/// What kind of request comes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// JSON.
    Rest,
    /// gRPC.
    Grpc,
    /// Documents and probes, without a credential.
    Page,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Rest, Kind::Grpc, Kind::Page];

    /// `rest`, `grpc`, `page`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Rest => "rest",
            Kind::Grpc => "grpc",
            Kind::Page => "page",
        }
    }
}

struct Door {
    requests: [[IntCounter; Class::ALL.len()]; Kind::ALL.len()],
    seconds: [Histogram; Kind::ALL.len()],
    shed: [IntCounter; 2],
}

static DOOR: LazyLock<Door> = LazyLock::new(|| {
    let requests =
        |kind: Kind| Class::ALL.map(|class| counter(&table::HTTP_REQUESTS, &[kind.name(), class.name()]));
    Door {
        requests: Kind::ALL.map(requests),
        seconds: Kind::ALL.map(|kind| durations(&table::HTTP_SECONDS, &[kind.name()])),
        shed: ["queue", "door"].map(|reason| counter(&table::HTTP_SHED, &[reason])),
    }
});

/// Counts a request that was answered.
pub fn answered(kind: Kind, class: Class, took: Duration) {
    let door = &*DOOR;
    door.requests[kind as usize][class.number()].inc();
    door.seconds[kind as usize].observe(took.as_secs_f64());
}

/// Counts a request that was refused because too many of its tenant wait.
pub fn shed_from_queue() {
    DOOR.shed[0].inc();
}

/// Counts a request that was refused because too many are here.
pub fn shed_at_door() {
    DOOR.shed[1].inc();
}

/// Why a call is denied to who makes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denied {
    /// No credential, or one that is not valid, or that is meant for another service.
    Credential,
    /// The credential does not permit it.
    Permission,
    /// It permits it within limits, and this is beyond them.
    Limits,
    /// It names what its tenant does not have; perhaps another one has it.
    UnknownId,
    /// It wants to work in a business that its credential does not reach.
    Business,
}

/// Counts a call that was denied.
pub fn denied(why: Denied) {
    static DENIED: LazyLock<[IntCounter; 5]> = LazyLock::new(|| {
        ["credential", "permission", "limits", "unknown_id", "business"]
            .map(|reason| counter(&table::ISOLATION_DENIED, &[reason]))
    });
    DENIED[why as usize].inc();
}

/// Makes the series of the door and of denials, so that they are there from the start.
pub(crate) fn prepare() {
    LazyLock::force(&DOOR);
    for reason in ["credential", "permission", "limits", "unknown_id", "business"] {
        let _ = counter(&table::ISOLATION_DENIED, &[reason]);
    }
}
