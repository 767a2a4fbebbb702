//! The three kinds of host whose traces are made.

use super::Trace;
use super::job::Recorder;
use super::project::Project;

/// What a project saves under one key: its usual size, in packs.
#[derive(Clone, Copy, Debug)]
pub enum Tree {
    NodeModules,
    Venv,
    RustTarget,
    Small,
}

/// What makes a host's projects what they are; all that is not here is the same for all.
#[derive(Clone, Debug)]
pub struct Shape {
    pub name: &'static str,
    pub projects: usize,
    /// Project n has the nth of these, round and round.
    pub trees: &'static [&'static [Tree]],
    /// Of the busiest project; the nth has one part in the square root of n of it.
    pub pipelines_per_day: f64,
    pub branches: usize,
    /// The chance that a job runs on this host and not on another of the fleet.
    pub share: f64,
    /// The chance that a downstream job restores a cache too.
    pub downstream_restores: f64,
    /// What a workflow hands from its first job to the others, in packs: from, to.
    pub workspace_packs: (usize, usize),
    /// What a nightly job reads, in packs; none for most.
    pub nightly_packs: usize,
    /// One project in so many has nightly jobs.
    pub nightly_each: usize,
}

pub(super) const DAYS: u64 = 30;

pub fn shapes() -> [Shape; 3] {
    use Tree::{NodeModules, RustTarget, Small, Venv};
    let few_big = Shape {
        name: "few big projects",
        projects: 4,
        trees: &[&[RustTarget, NodeModules], &[Venv, NodeModules], &[RustTarget], &[Venv, Small]],
        pipelines_per_day: 20.0,
        branches: 10,
        share: 1.0,
        downstream_restores: 0.7,
        workspace_packs: (1, 4),
        nightly_packs: 120,
        nightly_each: 1,
    };
    let many_small = Shape {
        name: "many small projects",
        projects: 80,
        trees: &[&[Small], &[Small, Small], &[Small], &[NodeModules], &[Small], &[Venv, Small]],
        pipelines_per_day: 30.0,
        branches: 4,
        share: 0.5,
        downstream_restores: 0.7,
        workspace_packs: (0, 2),
        nightly_packs: 40,
        nightly_each: 10,
    };
    let workspace_heavy = Shape {
        name: "workspace heavy",
        projects: 10,
        trees: &[&[NodeModules], &[Venv], &[NodeModules, Small]],
        pipelines_per_day: 16.0,
        branches: 6,
        share: 0.7,
        downstream_restores: 0.3,
        workspace_packs: (6, 40),
        nightly_packs: 40,
        nightly_each: 3,
    };
    [few_big, many_small, workspace_heavy]
}

impl Shape {
    /// The same seed makes the same trace.
    pub fn make(&self, seed: u64) -> Trace {
        let mut recorder = Recorder::default();
        for number in 0..self.projects {
            let rng = fastrand::Rng::with_seed(seed << 32 | number as u64);
            Project::new(self, number, rng, &mut recorder).live(&mut recorder);
        }
        Trace::new(self.name.to_owned(), recorder.into_accesses())
    }
}
