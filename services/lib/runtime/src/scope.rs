//! Which request a line of the log is about.
//!
//! Every line that is written while a request is worked on carries its trace and the service that works. The scope
//! is a value of the thread that is set for each poll: it costs two stores, and nothing is formatted unless a line
//! is written.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;

/// What lines of the log say of the request that they belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scope {
    /// 32 hexadecimal digits.
    trace_id: [u8; 32],
    service: &'static str,
}

thread_local! {
    static CURRENT: Cell<Option<Scope>> = const { Cell::new(None) };
}

/// Puts back, when it is dropped, what was there before.
pub struct Entered(Option<Scope>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

impl Scope {
    /// The scope of a service's work on a request with this W3C trace context; `None` if it is none.
    #[must_use]
    pub fn of(traceparent: &[u8], service: &'static str) -> Option<Scope> {
        let trace_id: [u8; 32] = traceparent.get(3..35)?.try_into().ok()?;
        trace_id.iter().all(u8::is_ascii_hexdigit).then_some(Scope { trace_id, service })
    }

    /// The scope that this thread is in.
    #[must_use]
    pub fn current() -> Option<Scope> {
        CURRENT.get()
    }

    /// The trace: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        std::str::from_utf8(&self.trace_id).unwrap_or_default()
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// Enters it, until what is given back is dropped. Not to be held while something is awaited.
    #[must_use]
    pub fn enter(self) -> Entered {
        Entered(CURRENT.replace(Some(self)))
    }
}

/// Works within a scope, if there is one.
pub async fn within<T>(scope: Option<Scope>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let _entered = scope.map(Scope::enter);
        work.as_mut().poll(cx)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// Two requests whose work is done in turns by one thread do not get each other's lines.
    #[tokio::test]
    async fn work_in_turns_stays_apart() {
        let one = Scope::of(PARENT, "stock");
        let two = Scope::of(&PARENT.to_ascii_lowercase(), "catalog");
        let work = async |expected: Option<Scope>| {
            for _ in 0..10 {
                assert_eq!(Scope::current(), expected);
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(within(one, work(one)), within(two, work(two)), work(None));
        let inner = async {
            assert_eq!(Scope::current(), one);
            within(two, work(two)).await;
            assert_eq!(Scope::current(), one);
        };
        within(one, inner).await;
        assert_eq!(Scope::current(), None);
    }

    #[test]
    fn what_is_no_trace_is_no_scope() {
        for text in ["", "00-", "00-4bf92f3577b34da6a3ce929d0e0e47\"6-00f067aa0ba902b7-01"] {
            assert_eq!(Scope::of(text.as_bytes(), "stock"), None, "{text}");
        }
        assert_eq!(Scope::of(PARENT, "x").unwrap().trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
    }
}
