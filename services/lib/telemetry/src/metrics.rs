//! The metrics of this process, and their text.

use std::collections::HashMap;
use std::sync::LazyLock;

use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::proto::{self, MetricFamily};
use prometheus::{
    CounterVec, Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::table::{BOUNDS, Kind, Metric};

/// What `/metrics` answers with.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Series that one process may have. Nothing holds a process to it but a test; an alert tells of it in production.
pub const SERIES_MAX: usize = 2_000;

/// Where numbers come from that are read when somebody asks, and not counted as they happen.
pub trait Source: Send + Sync + 'static {
    /// Tells what it knows.
    fn read(&self, sheet: &mut Sheet);
}

/// The metrics of this process.
pub struct Metrics {
    registry: Registry,
    sources: Mutex<Vec<Box<dyn Source>>>,
    families: Mutex<HashMap<&'static str, Family>>,
}

/// All series of one metric that are counted as it happens.
#[derive(Clone)]
enum Family {
    Counters(IntCounterVec),
    Sums(CounterVec),
    Gauges(IntGaugeVec),
    Histograms(HistogramVec),
}

/// The metrics of this process.
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        register(&registry, prometheus::process_collector::ProcessCollector::for_self());
        Metrics { registry, sources: Mutex::default(), families: Mutex::default() }
    });
    &METRICS
}

impl Metrics {
    /// Adds a source. One that is gone says nothing.
    pub fn add(&self, source: impl Source) {
        self.sources.lock().push(Box::new(source));
    }

    /// Writes all metrics as Prometheus text. What two sources say of one series is added up.
    ///
    /// # Errors
    /// When a number has no text form.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut families = self.registry.gather();
        let mut sheet = Sheet::default();
        self.sources.lock().iter().for_each(|source| source.read(&mut sheet));
        families.extend(sheet.families.into_iter().map(|(_, family)| family));
        families.sort_by(|a, b| a.name().cmp(b.name()));
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

fn register(registry: &Registry, collector: impl Collector + 'static) {
    // Names are unique and well-formed: a test goes through the table.
    registry.register(Box::new(collector)).unwrap_or_else(|error| panic!("a metric of ours: {error}"));
}

/// Numbers that sources tell.
#[derive(Default)]
pub struct Sheet {
    families: Vec<(&'static str, MetricFamily)>,
}

impl Sheet {
    /// A number of a counter or a gauge, for these values of its labels.
    pub fn number(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        let known = self.place(metric, labels);
        match metric.kind {
            Kind::Counter => {
                let mut counter = known.get_counter().clone();
                counter.set_value(counter.get_value() + value);
                known.set_counter(counter);
            }
            _ => {
                let mut gauge = known.get_gauge().clone();
                gauge.set_value(gauge.get_value() + value);
                known.set_gauge(gauge);
            }
        }
    }

    /// A histogram: how many values were at most each bound and above the one before it, then how many were above
    /// all bounds, and their sum.
    pub fn histogram(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        bounds: &[f64],
        counts: &[u64],
        sum: f64,
    ) {
        assert!(counts.len() == bounds.len() + 1, "a count for each bound, and one for what is above them");
        let mut cumulative = 0;
        let mut buckets = Vec::with_capacity(bounds.len());
        for (bound, count) in bounds.iter().zip(counts) {
            cumulative += count;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(cumulative);
            buckets.push(bucket);
        }
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(sum);
        self.place(metric, labels).set_histogram(histogram);
    }

    /// The series of a metric with these labels.
    fn place(&mut self, metric: &'static Metric, labels: &[&str]) -> &mut proto::Metric {
        assert!(labels.len() == metric.labels.len(), "a value for each label of {}", metric.name);
        let at = self.families.iter().position(|(name, _)| *name == metric.name);
        let at = at.unwrap_or_else(|| {
            let mut family = MetricFamily::default();
            family.set_name(metric.name.to_owned());
            family.set_help(metric.help.to_owned());
            family.set_field_type(match metric.kind {
                Kind::Counter => proto::MetricType::COUNTER,
                Kind::Gauge => proto::MetricType::GAUGE,
                Kind::Histogram => proto::MetricType::HISTOGRAM,
            });
            self.families.push((metric.name, family));
            self.families.len() - 1
        });
        let series = self.families[at].1.mut_metric();
        let same = |known: &proto::Metric| {
            known.get_label().iter().map(|pair| pair.value()).eq(labels.iter().copied())
        };
        let at = series.iter().position(same).unwrap_or_else(|| {
            let pair = |(name, value): (&&str, &&str)| {
                let mut pair = proto::LabelPair::default();
                pair.set_name((*name).to_owned());
                pair.set_value((*value).to_owned());
                pair
            };
            let pairs = metric.labels.iter().zip(labels).map(pair).collect();
            series.push(proto::Metric::from_label(pairs));
            series.len() - 1
        });
        &mut series[at]
    }
}

/// A number of a counter: one series. Look it up once and keep it: adding to it is one atomic addition.
#[must_use]
pub fn counter(metric: &'static Metric, labels: &[&str]) -> IntCounter {
    let family = family(metric, |options| IntCounterVec::new(options, metric.labels).map(Family::Counters));
    match family {
        Family::Counters(family) => family.with_label_values(labels),
        _ => panic!("{} does not count", metric.name),
    }
}

/// As [`counter`], for a sum of seconds.
#[must_use]
pub fn sum(metric: &'static Metric, labels: &[&str]) -> prometheus::Counter {
    let family = family(metric, |options| CounterVec::new(options, metric.labels).map(Family::Sums));
    match family {
        Family::Sums(family) => family.with_label_values(labels),
        _ => panic!("{} is no sum", metric.name),
    }
}

/// As [`counter`], for what goes up and down.
#[must_use]
pub fn gauge(metric: &'static Metric, labels: &[&str]) -> IntGauge {
    let family = family(metric, |options| IntGaugeVec::new(options, metric.labels).map(Family::Gauges));
    match family {
        Family::Gauges(family) => family.with_label_values(labels),
        _ => panic!("{} is no gauge", metric.name),
    }
}

/// As [`counter`], for durations.
#[must_use]
pub fn durations(metric: &'static Metric, labels: &[&str]) -> Histogram {
    let family = family(metric, |options| {
        let options = HistogramOpts::from(options).buckets(bounds());
        HistogramVec::new(options, metric.labels).map(Family::Histograms)
    });
    match family {
        Family::Histograms(family) => family.with_label_values(labels),
        _ => panic!("{} is no histogram", metric.name),
    }
}

/// The bounds of histograms of durations, in seconds.
pub(crate) fn bounds() -> Vec<f64> {
    BOUNDS.iter().map(std::time::Duration::as_secs_f64).collect()
}

fn family(metric: &'static Metric, make: impl FnOnce(Opts) -> Result<Family, prometheus::Error>) -> Family {
    let metrics = metrics();
    let mut families = metrics.families.lock();
    let family = families.entry(metric.name).or_insert_with(|| {
        let made = make(Opts::new(metric.name, metric.help));
        let made = made.unwrap_or_else(|error| panic!("{}: {error}", metric.name));
        match &made {
            Family::Counters(family) => register(&metrics.registry, family.clone()),
            Family::Sums(family) => register(&metrics.registry, family.clone()),
            Family::Gauges(family) => register(&metrics.registry, family.clone()),
            Family::Histograms(family) => register(&metrics.registry, family.clone()),
        }
        made
    });
    family.clone()
}
