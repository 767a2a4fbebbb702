//! The contestants, and the table of how they did.

use std::fmt::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use crate::policy::{Gdsf, Lru, Optimum, Policy, S3Fifo, Segmented, Sieve, TwoSpeed};
use crate::replay::{Outcome, replay};
use crate::trace::Trace;

const PERCENTS: [u64; 5] = [2, 5, 10, 25, 50];
const DAY_SECS: u64 = 24 * 3600;
/// Longer than the jobs of a workflow are apart.
const SETTLE_SECS: u64 = 2 * 3600;
const GIB: f64 = (1_u64 << 30) as f64;

type Make = fn(u64, &Rc<[u32]>) -> Box<dyn Policy>;

#[derive(Clone, Copy)]
struct Contestant {
    name: &'static str,
    restart_secs: Option<u64>,
    make: Make,
}

fn contestants() -> Vec<Contestant> {
    let policies: [(&'static str, Make, bool); 12] = [
        ("LRU", |room, _| Box::new(Lru::new(room)), false),
        ("SIEVE", |room, _| Box::new(Sieve::new(room)), true),
        ("S3-FIFO", |room, _| Box::new(S3Fifo::new(room, 2)), true),
        ("S3-FIFO, promotes at 1", |room, _| Box::new(S3Fifo::new(room, 1)), false),
        ("segmented, 20 % fresh", |room, _| Box::new(Segmented::new(room, 20, SETTLE_SECS)), true),
        ("two-speed", |room, _| Box::new(TwoSpeed::new(room, SETTLE_SECS)), true),
        ("two-speed, settles in 10 min", |room, _| Box::new(TwoSpeed::new(room, 600)), false),
        ("two-speed, settles in 8 h", |room, _| Box::new(TwoSpeed::new(room, 8 * 3600)), false),
        (
            "two-speed without grace",
            |room, _| Box::new(TwoSpeed::new(room, SETTLE_SECS).without_grace()),
            false,
        ),
        ("GDSF", |room, _| Box::new(Gdsf::new(room, u32::MAX)), true),
        ("GDSF, counts to 3", |room, _| Box::new(Gdsf::new(room, 3)), false),
        ("optimum", |room, next| Box::new(Optimum::new(room, Rc::clone(next))), false),
    ];
    let mut all = Vec::new();
    for (name, make, restarts) in policies {
        all.push(Contestant { name, restart_secs: None, make });
        if restarts {
            all.push(Contestant { name, restart_secs: Some(DAY_SECS), make });
        }
    }
    all
}

/// One kind of trace, made from several seeds (or recorded once): a heading, what it is, and a table.
pub fn section(traces: &[Trace], out: &mut String) -> fmt::Result {
    let Some(first) = traces.first() else { return Ok(()) };
    writeln!(out, "### {}\n", first.name)?;
    describe(traces, out)?;
    write!(out, "| policy |")?;
    for percent in PERCENTS {
        write!(out, " {percent} % |")?;
    }
    writeln!(out, " ns an access |\n|---|---|---|---|---|---|---|")?;
    for contestant in contestants() {
        row(contestant, traces, out)?;
    }
    writeln!(out)
}

fn mean(traces: &[Trace], value: impl Fn(&Trace) -> f64) -> f64 {
    traces.iter().map(value).sum::<f64>() / traces.len() as f64
}

fn describe(traces: &[Trace], out: &mut String) -> fmt::Result {
    let all: Vec<Outcome> = traces
        .iter()
        .map(|trace| replay(trace, trace.unique_bytes, None, &|| Box::new(Lru::new(u64::MAX / 2))))
        .collect();
    let count = traces.len() as f64;
    let sum = |value: fn(&Outcome) -> f64| all.iter().map(value).sum::<f64>() / count;
    writeln!(
        out,
        "{:.0} accesses, {:.0} of them reads of {:.0} GiB; {:.0} blobs, working set {:.0} GiB; \
         with room for all of it {:.1} % / {:.1} % hit, {:.0} GiB from the backend.\n",
        mean(traces, |trace| trace.accesses.len() as f64),
        sum(|outcome| outcome.reads as f64),
        sum(|outcome| outcome.read_bytes as f64 / GIB),
        mean(traces, |trace| trace.blobs as f64),
        mean(traces, |trace| trace.unique_bytes as f64 / GIB),
        sum(|outcome| outcome.byte_hit_ratio() * 100.0),
        sum(|outcome| outcome.object_hit_ratio() * 100.0),
        sum(|outcome| outcome.backend_bytes() as f64 / GIB),
    )
}

fn row(contestant: Contestant, traces: &[Trace], out: &mut String) -> fmt::Result {
    let note = if contestant.restart_secs.is_some() { ", restarted daily" } else { "" };
    write!(out, "| {}{note} |", contestant.name)?;
    let (mut took, mut accesses) = (Duration::ZERO, 0);
    for percent in PERCENTS {
        let (mut bytes, mut objects, mut backend) = (0.0, 0.0, 0.0);
        for trace in traces {
            let room = trace.unique_bytes / 100 * percent;
            let make = || (contestant.make)(room, &trace.next_read);
            let outcome = replay(trace, room, contestant.restart_secs, &make);
            bytes += outcome.byte_hit_ratio() * 100.0 / traces.len() as f64;
            objects += outcome.object_hit_ratio() * 100.0 / traces.len() as f64;
            backend += outcome.backend_bytes() as f64 / GIB / traces.len() as f64;
            took += outcome.took;
            accesses += trace.accesses.len();
        }
        write!(out, " {bytes:.1} / {objects:.1}, {backend:.0} |")?;
    }
    writeln!(out, " {:.0} |", took.as_nanos() as f64 / accesses.max(1) as f64)
}
