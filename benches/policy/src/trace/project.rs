//! One project's thirty days: branches, pipelines, nightly jobs, releases.

use super::job::{Entry, MIB, Recorder};
use super::shape::{DAYS, Shape, Tree};
use crate::policy::Blob;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// The first day is a Monday.
const START: u64 = 1_699_833_600;
/// The lock file changes in one commit of so many.
const CHURN: usize = 8;
/// How long a branch lives in the mean.
const BRANCH_SECS: f64 = 4.0 * DAY as f64;

#[derive(Debug)]
struct Branch {
    weight: f64,
    ends: u64,
    /// What was saved on this branch, by tree; before that, the default branch's is restored.
    entries: Vec<Option<Entry>>,
}

#[derive(Debug)]
pub(super) struct Project<'a> {
    shape: &'a Shape,
    rng: fastrand::Rng,
    pipelines_per_day: f64,
    default: Vec<Entry>,
    branches: Vec<Branch>,
    nightly: Vec<Blob>,
    release: Vec<Blob>,
    /// When the newest entry was there; what starts before then waits for it.
    saved_secs: u64,
}

impl<'a> Project<'a> {
    pub(super) fn new(
        shape: &'a Shape,
        number: usize,
        mut rng: fastrand::Rng,
        recorder: &mut Recorder,
    ) -> Self {
        let trees = shape.trees[number % shape.trees.len()];
        let default = trees.iter().map(|tree| first_entry(*tree, &mut rng, recorder)).collect();
        let has_nightly = number.is_multiple_of(shape.nightly_each);
        let nightly_packs = if has_nightly { shape.nightly_packs } else { 0 };
        Self {
            shape,
            pipelines_per_day: shape.pipelines_per_day / ((number + 1) as f64).sqrt(),
            default,
            branches: Vec::new(),
            nightly: recorder.packs(&mut rng, nightly_packs),
            release: recorder.packs(&mut rng, shape.nightly_packs / 2),
            rng,
            saved_secs: 0,
        }
    }

    /// Goes through the hours.
    pub(super) fn live(mut self, recorder: &mut Recorder) {
        for hour in 0..DAYS * 24 {
            let mut starts: Vec<u64> =
                (0..self.pipelines_in(hour)).map(|_| self.moment(hour)).collect();
            starts.sort_unstable();
            for secs in starts {
                self.pipeline(secs, recorder);
            }
            if hour % 24 == 2 && !self.nightly.is_empty() && self.here() {
                let secs = self.moment(hour);
                self.nightly_job(secs, recorder);
            }
            if hour % (7 * 24) == 3 * 24 + 15 && self.here() {
                let secs = self.moment(hour);
                self.release_job(secs, recorder);
            }
        }
    }

    fn here(&mut self) -> bool {
        self.rng.f64() < self.shape.share
    }

    fn moment(&mut self, hour: u64) -> u64 {
        START + hour * HOUR + self.rng.u64(0..HOUR)
    }

    /// People work by day and in the week.
    fn pipelines_in(&mut self, hour: u64) -> usize {
        let weight = match (hour / 24 % 7, hour % 24) {
            (5 | 6, _) => 0.01,
            (_, 9..18) => 0.09,
            (_, 7..9 | 18..21) => 0.03,
            _ => 0.005,
        };
        (self.pipelines_per_day * weight + self.rng.f64()) as usize
    }

    /// Ends branches, begins one now and then, and says on which one (or the default one) somebody commits.
    fn branch(&mut self, now: u64, recorder: &mut Recorder) -> Option<usize> {
        while let Some(ended) = self.branches.iter().position(|branch| branch.ends < now) {
            let branch = self.branches.swap_remove(ended);
            self.merge(&branch, now, recorder);
        }
        if self.branches.len() < self.shape.branches && self.rng.bool() {
            let lifetime = (-BRANCH_SECS * (1.0 - self.rng.f64()).ln()) as u64;
            self.branches.push(Branch {
                weight: 1.0 / self.rng.f64().mul_add(self.shape.branches as f64, 1.0),
                ends: now + lifetime,
                entries: vec![None; self.default.len()],
            });
        }
        let all: f64 = self.branches.iter().map(|branch| branch.weight).sum();
        let mut at = self.rng.f64() * (all + 0.5);
        self.branches.iter().position(|branch| {
            at -= branch.weight;
            at < 0.0
        })
    }

    /// What the branch changed in its lock files comes to the default branch, and is saved there anew.
    fn merge(&mut self, branch: &Branch, now: u64, recorder: &mut Recorder) {
        for (tree, entry) in branch.entries.iter().enumerate() {
            if entry.is_some() {
                let (next, new) = self.default[tree].successor(recorder, &mut self.rng);
                if self.here() {
                    self.saved_secs = recorder.run(now.max(self.saved_secs), true, &new);
                }
                self.default[tree] = next;
            }
        }
    }

    fn entry(&self, branch: Option<usize>, tree: usize) -> &Entry {
        let own = branch.and_then(|branch| self.branches[branch].entries[tree].as_ref());
        own.unwrap_or(&self.default[tree])
    }

    /// A commit: a job that restores, saves if a lock file changed, and writes the workspace; then those that read it.
    fn pipeline(&mut self, start: u64, recorder: &mut Recorder) {
        let branch = self.branch(start, recorder);
        let (trees, here) = (self.default.len(), self.here());
        let mut now = start.max(self.saved_secs);
        if here {
            for tree in 0..trees {
                now = recorder.run(now, false, self.entry(branch, tree).blobs());
            }
        }
        now += self.rng.u64(60..300);
        if self.rng.usize(0..CHURN) == 0 {
            let tree = self.rng.usize(0..trees);
            let current = self.entry(branch, tree).clone();
            let (next, new) = current.successor(recorder, &mut self.rng);
            if here {
                now = recorder.run(now, true, &new);
                self.saved_secs = now;
            }
            match branch {
                Some(branch) => self.branches[branch].entries[tree] = Some(next),
                None => self.default[tree] = next,
            }
        }
        let (from, to) = self.shape.workspace_packs;
        let workspace_packs = self.rng.usize(from..=to);
        let workspace = recorder.packs(&mut self.rng, workspace_packs);
        if here {
            now = recorder.run(now, true, &workspace);
        }
        for _ in 0..self.rng.usize(3..=6) {
            let secs = now + self.rng.u64(5..3000);
            if self.here() {
                self.downstream(branch, secs, &workspace, recorder);
            }
        }
    }

    fn downstream(
        &mut self,
        branch: Option<usize>,
        start: u64,
        workspace: &[Blob],
        recorder: &mut Recorder,
    ) {
        let mut now = recorder.run(start, false, workspace);
        for tree in 0..self.default.len() {
            if self.rng.f64() < self.shape.downstream_restores {
                now = recorder.run(now, false, self.entry(branch, tree).blobs());
            }
        }
    }

    /// A scan: the default branch's caches and a large set that nobody else reads, of which a twentieth is new.
    fn nightly_job(&mut self, start: u64, recorder: &mut Recorder) {
        for _ in 0..self.nightly.len() / 20 {
            let at = self.rng.usize(0..self.nightly.len());
            self.nightly[at] = recorder.pack_of(self.nightly[at].size_bytes);
        }
        let now = recorder.run(start.max(self.saved_secs), false, &self.nightly);
        recorder.run(now, false, self.default.iter().flat_map(Entry::blobs));
    }

    /// Once a week: caches, a toolchain that only releases read, and artifacts that nobody reads here.
    fn release_job(&mut self, start: u64, recorder: &mut Recorder) {
        let start = start.max(self.saved_secs);
        let now = recorder.run(start, false, self.default.iter().flat_map(Entry::blobs));
        let now = recorder.run(now, false, &self.release);
        let artifacts = recorder.packs(&mut self.rng, 12);
        recorder.run(now + 600, true, &artifacts);
    }
}

fn first_entry(tree: Tree, rng: &mut fastrand::Rng, recorder: &mut Recorder) -> Entry {
    let packs = match tree {
        Tree::NodeModules => recorder.packs(rng, 17),
        Tree::Venv => recorder.packs(rng, 22),
        Tree::RustTarget => recorder.packs(rng, 38),
        Tree::Small => {
            let size = rng.u64(5 * MIB..50 * MIB);
            let full = recorder.packs(rng, (size / (32 * MIB)) as usize + 1);
            let tail = recorder.pack_of(size % (32 * MIB));
            full[..full.len() - 1].iter().copied().chain([tail]).collect()
        }
    };
    Entry::new(recorder, rng, packs)
}
