//! Prometheus. A recorder for each daemon and none for the process: several daemons may live in one.

use ::metrics::{Counter, Gauge, Recorder, counter, gauge, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// Makes the handles that the rooms count with, and prints what they counted.
pub struct Exporter {
    recorder: PrometheusRecorder,
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exporter")
    }
}

impl Default for Exporter {
    fn default() -> Self {
        Self { recorder: PrometheusBuilder::new().build_recorder() }
    }
}

impl Exporter {
    /// A counter of this name, with a label if given.
    pub fn counter(
        &self,
        name: &'static str,
        label: Option<(&'static str, &'static str)>,
        help: &'static str,
    ) -> Counter {
        self.recorder.describe_counter(name.into(), None, help.into());
        with_local_recorder(&self.recorder, || {
            if let Some((label, value)) = label {
                counter!(name, label => value)
            } else {
                counter!(name)
            }
        })
    }

    /// A gauge of this name.
    pub fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        self.recorder.describe_gauge(name.into(), None, help.into());
        with_local_recorder(&self.recorder, || gauge!(name))
    }

    /// Prints what was counted.
    pub fn handle(&self) -> PrometheusHandle {
        self.recorder.handle()
    }
}
