//! Metrics: one registry per process, and its text form for `/metrics`.

use prometheus::{Registry, TextEncoder};

/// What `/metrics` answers with.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The metrics of a process. Cloning gives another handle to the same registry.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// Makes a registry that knows memory, CPU time and open files of the process.
    ///
    /// # Errors
    /// When the process metrics cannot be registered.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Metrics { registry })
    }

    /// Where services register their own. A label names a `reason()` or a route, never a tenant.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Writes all metrics as Prometheus text.
    ///
    /// # Errors
    /// When a collector answers with what has no text form.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_the_process_and_what_was_registered() {
        let metrics = Metrics::new().unwrap();
        let posted = prometheus::IntCounter::new("posted_total", "Movements posted.").unwrap();
        metrics.registry().register(Box::new(posted.clone())).unwrap();
        posted.inc();
        let text = metrics.render().unwrap();
        assert!(text.contains("posted_total 1"), "{text}");
        #[cfg(target_os = "linux")]
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }
}
