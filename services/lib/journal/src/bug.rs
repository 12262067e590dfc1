//! Bugs of the protocol on purpose, so that a simulation proves that it finds them.
//!
//! Without the feature `seeded-bugs` none of them exists: [`is`] is `false` at compile time.

#[cfg(feature = "seeded-bugs")]
mod planted {
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<&'static str> = const { Cell::new("") };
    }

    /// All bugs that can be planted.
    pub const ALL: [&str; 20] = [
        "skip the expect check",
        "report failure from an unknown outcome",
        "acknowledge an unknown outcome",
        "decide anew with another attempt after an unknown outcome",
        "answer before the commit",
        "forget the key row",
        "point the key row beside the entries",
        "mix up the answers of neighbours",
        "ignore the fingerprint",
        "apply a repetition to the state",
        "take no claims",
        "release no claims",
        "keep a stale state after another's commit",
        "take another's entry for one's own",
        "take one's own entry for another's",
        "refuse from what is in memory",
        "let time run backwards",
        "chain no predecessor",
        "commit a batch in parts",
        "let a key run twice at the same time",
    ];

    /// Plants a bug in everything that runs on this thread, and removes the one before; `""` plants none.
    pub fn plant(name: &'static str) {
        assert!(name.is_empty() || ALL.contains(&name), "no bug is called '{name}'");
        PLANTED.set(name);
    }

    pub(crate) fn is(name: &str) -> bool {
        debug_assert!(ALL.contains(&name), "no bug is called '{name}'");
        PLANTED.get() == name
    }
}

#[cfg(feature = "seeded-bugs")]
pub use planted::*;

/// Whether this bug is planted.
#[cfg(not(feature = "seeded-bugs"))]
pub(crate) const fn is(_name: &str) -> bool {
    false
}
