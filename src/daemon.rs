//! The composition root: opens backend, disk and operations, and puts the frontends before them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_backends as backends;
use larder_backends::layer::{Counted, Counters};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::disk::{self, Disk};
use crate::frontends::native;
use crate::frontends::serve::{self, ListenError, Listener};
use crate::ops::{self, Clock, Larder, Parts, RETENTION};
use crate::telemetry::Exporter;

/// How long requests under way may take to end after SIGTERM. Service managers wait longer.
pub const DRAIN: Duration = Duration::from_secs(20);
/// What a crash may cost: a scan of the files that changed since.
const CHECKPOINT_EVERY: Duration = Duration::from_mins(1);

/// The daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The backend's configuration.
    #[error("the backend cannot be opened")]
    Backend(#[from] backends::ConfigError),
    /// The data folder.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// What an earlier daemon left.
    #[error(transparent)]
    Ops(#[from] ops::Error),
    /// The sockets.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The system.
    #[error("the daemon's runtime cannot be set up")]
    Runtime(#[from] std::io::Error),
}

/// A daemon that serves.
#[derive(Debug)]
pub struct Running {
    urls: Vec<String>,
    larder: Larder,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Running {
    /// Opens everything and begins to serve. When this returns, the sockets are bound.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let exporter = Exporter::default();
        let counters = Arc::new(Counters::default());
        let backend = Counted::new(config.backend.open()?, counters.clone());
        let disk_config = disk::Config { root: config.data.clone(), limits: config.limits };
        let disk_metrics = disk_metrics(&exporter);
        let disk = blocking(move || Disk::open(&disk_config, disk_metrics)).await?;
        let parts = Parts {
            disk,
            backend: Arc::new(backend),
            counters,
            clock: Clock::system(),
            metrics: ops_metrics(&exporter),
            retention: RETENTION,
        };
        let larder = blocking(move || Larder::open(parts)).await?;
        let render = exporter.handle();
        let state = native::State {
            larder: larder.clone(),
            render_metrics: Arc::new(move || render.render()),
            started: Instant::now(),
            data: config.data.display().to_string(),
        };
        let (stop, stopped) = watch::channel(false);
        let mut running =
            Self { urls: Vec::new(), larder: larder.clone(), stop, tasks: JoinSet::new() };
        for listener in listeners(config).await? {
            running.urls.push(listener.url());
            running.tasks.spawn(serve::serve(
                listener,
                native::router(state.clone()),
                stopped.clone(),
                DRAIN,
            ));
        }
        running.tasks.spawn(until(stopped.clone(), {
            let larder = larder.clone();
            async move { larder.run_flusher().await }
        }));
        running.tasks.spawn(until(stopped.clone(), {
            let larder = larder.clone();
            async move { larder.run_disk().await }
        }));
        running.tasks.spawn(until(stopped, async move { checkpoints(&larder).await }));
        Ok(running)
    }

    /// Where it listens, as `LARDER_URL` says it; the socket first.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Takes no more requests, lets those under way end, and leaves everything so that the next start
    /// is quick. What is in the outbox stays there.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        let larder = self.larder;
        let checkpoint = tokio::task::spawn_blocking(move || larder.close());
        if let Ok(Err(error)) = checkpoint.await {
            tracing::warn!(
                error = error.chain(),
                "the index is not up to date; the next start scans"
            );
        }
    }
}

/// Runs a daemon until SIGTERM or SIGINT.
pub async fn run(config: &Config) -> Result<(), StartError> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let running = Running::start(config).await?;
    for url in running.urls() {
        tracing::info!("listening on {url}");
    }
    tracing::info!(data = %config.data.display(), backend = %config.backend, "ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let left = running.larder.status().outbox.entries;
    tracing::info!(
        outbox = left,
        "stopping; what is in the outbox is flushed after the next start"
    );
    running.stop().await;
    Ok(())
}

async fn listeners(config: &Config) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = Vec::new();
    if let Some(path) = &config.socket {
        listeners.push(Listener::unix(path)?);
    }
    for address in &config.listen {
        listeners.push(Listener::tcp(*address).await?);
    }
    Ok(listeners)
}

async fn blocking<T: Send + 'static, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, StartError>
where
    E: Send + 'static,
    StartError: From<E>,
{
    Ok(tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)??)
}

async fn until(mut stopped: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        () = serve::stopped(&mut stopped) => {}
    }
}

async fn checkpoints(larder: &Larder) {
    let mut timer = tokio::time::interval(CHECKPOINT_EVERY);
    loop {
        timer.tick().await;
        let larder = larder.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || larder.checkpoint()).await {
            tracing::warn!(error = error.chain(), "the index cannot be brought up to date");
        }
    }
}

fn disk_metrics(exporter: &Exporter) -> disk::Metrics {
    disk::Metrics {
        blobs: exporter.gauge("larder_disk_blobs", "Blobs on the host's disk"),
        bytes: exporter.gauge("larder_disk_bytes", "Bytes that the blobs take on the host's disk"),
        ingested_bytes: exporter.counter(
            "larder_disk_ingested_bytes_total",
            None,
            "Bytes brought onto the host's disk",
        ),
        evicted_blobs: exporter.counter(
            "larder_disk_evicted_total",
            None,
            "Blobs evicted to make room",
        ),
        evicted_bytes: exporter.counter(
            "larder_disk_evicted_bytes_total",
            None,
            "Bytes that the evicted blobs took",
        ),
        refused_bytes: exporter.counter(
            "larder_disk_refused_bytes_total",
            None,
            "Bytes for which no room could be made; they went past the disk",
        ),
        quarantined: exporter.counter(
            "larder_disk_quarantined_total",
            None,
            "Blobs whose bytes were wrong",
        ),
    }
}

fn ops_metrics(exporter: &Exporter) -> ops::Metrics {
    let calls = ["put", "get", "head", "delete", "list"];
    let calls = calls.map(|call| {
        exporter.counter("larder_backend_calls_total", Some(("call", call)), "Calls to the backend")
    });
    let mut metrics = ops::Metrics::noop();
    metrics.hits = exporter.counter("larder_cache_hits_total", None, "Restores that found a cache");
    metrics.misses =
        exporter.counter("larder_cache_misses_total", None, "Restores that found none");
    metrics.backend_read_bytes =
        exporter.counter("larder_backend_read_bytes_total", None, "Bytes read from the backend");
    metrics.backend_written_bytes = exporter.counter(
        "larder_backend_written_bytes_total",
        None,
        "Bytes written to the backend",
    );
    metrics.backend_calls = calls;
    metrics.backend_errors =
        exporter.counter("larder_backend_errors_total", None, "Calls to the backend that failed");
    metrics.outbox_entries =
        exporter.gauge("larder_outbox_entries", "Saves that the backend does not have yet");
    metrics.outbox_bytes = exporter.gauge("larder_outbox_bytes", "Bytes of their blobs");
    metrics
}

/// A configuration with nothing shared and nothing to find, for trials and tests: a socket in `folder`
/// beside the data.
pub fn private_config(folder: &Path, backend: backends::Config) -> Config {
    Config {
        listen: Vec::new(),
        socket: Some(folder.join("larder.sock")),
        data: folder.join("data"),
        limits: disk::Limits { max_size: None, min_free: disk::Amount::Bytes(0) },
        backend,
    }
}
