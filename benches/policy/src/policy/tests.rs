//! What every policy must keep, and what each is for.

use super::{Blob, Gdsf, Lru, Now, Optimum, Policy, S3Fifo, Segmented, Sieve, TwoSpeed};

const HOUR: u64 = 3600;

fn all(capacity_bytes: u64) -> Vec<Box<dyn Policy>> {
    let never = vec![u32::MAX; 100_000].into();
    vec![
        Box::new(Lru::new(capacity_bytes)),
        Box::new(Sieve::new(capacity_bytes)),
        Box::new(S3Fifo::new(capacity_bytes, 2)),
        Box::new(Segmented::new(capacity_bytes, 20, HOUR)),
        Box::new(TwoSpeed::new(capacity_bytes, HOUR)),
        Box::new(Gdsf::new(capacity_bytes, u32::MAX)),
        Box::new(Optimum::new(capacity_bytes, never)),
    ]
}

fn at(secs: u64) -> Now {
    Now { secs, at: secs as usize }
}

/// What a caller would have on its disk.
#[derive(Default)]
struct Shelf(std::collections::BTreeMap<u32, u64>);

impl Shelf {
    fn admit(&mut self, policy: &mut dyn Policy, id: u32, size_bytes: u64, now: Now) -> Vec<u32> {
        let mut victims = Vec::new();
        assert_eq!(self.0.insert(id, size_bytes), None);
        policy.admit(Blob { id, size_bytes }, now, &mut victims);
        for victim in &victims {
            assert!(self.0.remove(victim).is_some(), "{victim} is not resident");
        }
        victims
    }

    fn bytes(&self) -> u64 {
        self.0.values().sum()
    }
}

#[test]
fn used_bytes_never_pass_the_capacity() {
    for mut policy in all(1000) {
        let (mut rng, mut shelf) = (fastrand::Rng::with_seed(7), Shelf::default());
        for step in 0..50_000 {
            let id = rng.u32(0..200);
            if !shelf.0.contains_key(&id) {
                shelf.admit(policy.as_mut(), id, u64::from(id % 90) + 1, at(step));
            } else if rng.u8(0..10) == 0 {
                policy.remove(id);
                shelf.0.remove(&id);
            } else {
                policy.touch(id, at(step));
            }
            assert!(shelf.bytes() <= 1000);
        }
        assert!(shelf.bytes() > 850, "the room is used");
    }
}

#[test]
fn what_is_larger_than_the_disk_goes_at_once_and_takes_nothing_with_it() {
    for mut policy in all(100).into_iter().take(6) {
        let mut shelf = Shelf::default();
        shelf.admit(policy.as_mut(), 1, 60, at(0));
        assert_eq!(shelf.admit(policy.as_mut(), 2, 101, at(1)), [2]);
    }
}

/// Reads blob 0 each hour and lets new ones come; says whether 0 was still there at the end.
fn survives_scan(mut policy: Box<dyn Policy>) -> bool {
    let mut shelf = Shelf::default();
    shelf.admit(policy.as_mut(), 0, 10, at(0));
    for hour in 1..=4 {
        policy.touch(0, at(hour * HOUR));
    }
    for id in 1..=200 {
        shelf.admit(policy.as_mut(), id, 10, at(4 * HOUR + u64::from(id)));
    }
    shelf.0.contains_key(&0)
}

#[test]
fn what_was_read_again_survives_a_scan_unless_the_policy_is_lru() {
    assert!(!survives_scan(Box::new(Lru::new(1000))));
    assert!(survives_scan(Box::new(S3Fifo::new(1000, 2))));
    assert!(survives_scan(Box::new(Segmented::new(1000, 20, HOUR))));
    assert!(survives_scan(Box::new(TwoSpeed::new(1000, HOUR))));
}

#[test]
fn a_touch_saves_from_the_next_eviction() {
    for mut policy in all(100).into_iter().take(6) {
        let mut shelf = Shelf::default();
        for id in 0..10 {
            shelf.admit(policy.as_mut(), id, 10, at(u64::from(id)));
        }
        policy.touch(0, at(2 * HOUR));
        policy.touch(0, at(2 * HOUR + 1));
        assert_eq!(shelf.admit(policy.as_mut(), 10, 10, at(2 * HOUR + 2)), [1]);
    }
}

#[test]
fn the_optimum_lets_go_of_what_is_read_last() {
    // Accesses 0, 1 and 2 bring blobs that are read at 9, at 5 and never.
    let mut policy = Optimum::new(20, vec![9, 5, u32::MAX, 3].into());
    let mut shelf = Shelf::default();
    shelf.admit(&mut policy, 0, 10, at(0));
    shelf.admit(&mut policy, 1, 10, at(1));
    assert_eq!(shelf.admit(&mut policy, 2, 10, at(2)), [2]);
    assert_eq!(shelf.admit(&mut policy, 3, 10, at(3)), [0]);
}

#[test]
fn gdsf_keeps_the_small_since_a_request_costs_the_same() {
    let mut policy = Gdsf::new(40_000_000, u32::MAX);
    let mut shelf = Shelf::default();
    shelf.admit(&mut policy, 0, 20_000, at(0));
    shelf.admit(&mut policy, 1, 30_000_000, at(1));
    assert_eq!(shelf.admit(&mut policy, 2, 30_000_000, at(2)), [1]);
}

#[test]
fn the_readers_of_one_workflow_do_not_make_a_blob_used_again() {
    for settled in [false, true] {
        let mut policy = TwoSpeed::new(30, HOUR);
        let mut shelf = Shelf::default();
        shelf.admit(&mut policy, 0, 10, at(0));
        policy.touch(0, at(if settled { HOUR } else { HOUR - 1 }));
        shelf.admit(&mut policy, 1, 10, at(HOUR + 10));
        shelf.admit(&mut policy, 2, 10, at(HOUR + 20));
        let victim = u32::from(settled);
        assert_eq!(shelf.admit(&mut policy, 3, 10, at(3 * HOUR)), [victim]);
    }
}

#[test]
fn what_is_used_again_goes_too_when_it_lay_idle_for_long() {
    let mut policy = TwoSpeed::new(20, HOUR);
    let mut shelf = Shelf::default();
    shelf.admit(&mut policy, 0, 10, at(0));
    policy.touch(0, at(HOUR));
    shelf.admit(&mut policy, 1, 10, at(40 * HOUR));
    assert_eq!(shelf.admit(&mut policy, 2, 10, at(41 * HOUR)), [0]);
}

#[test]
fn a_quick_scan_at_night_spares_what_was_used_by_day_if_there_is_grace() {
    for (mut policy, survives) in
        [(TwoSpeed::new(100, HOUR), true), (TwoSpeed::new(100, HOUR).without_grace(), false)]
    {
        let mut shelf = Shelf::default();
        shelf.admit(&mut policy, 0, 10, at(0));
        policy.touch(0, at(HOUR));
        for id in 1..=20 {
            shelf.admit(&mut policy, id, 10, at(10 * HOUR + u64::from(id)));
        }
        assert_eq!(shelf.0.contains_key(&0), survives);
    }
}

/// SIEVE as its paper writes it, over a vector, newest first.
struct PlainSieve {
    queue: Vec<(u32, bool)>,
    hand: Option<u32>,
}

impl PlainSieve {
    fn evict(&mut self) -> u32 {
        let found = self.hand.and_then(|id| self.queue.iter().position(|node| node.0 == id));
        let mut index = found.unwrap_or(self.queue.len() - 1);
        while self.queue[index].1 {
            self.queue[index].1 = false;
            index = index.checked_sub(1).unwrap_or(self.queue.len() - 1);
        }
        self.hand = index.checked_sub(1).map(|newer| self.queue[newer].0);
        self.queue.remove(index).0
    }
}

#[test]
fn sieve_does_as_the_plain_one() {
    let (mut policy, mut plain) = (Sieve::new(50), PlainSieve { queue: Vec::new(), hand: None });
    let (mut rng, mut shelf) = (fastrand::Rng::with_seed(3), Shelf::default());
    for step in 0..20_000 {
        let id = (rng.f64().powi(2) * 150.0) as u32;
        if shelf.0.contains_key(&id) {
            policy.touch(id, at(step));
            plain.queue.iter_mut().filter(|node| node.0 == id).for_each(|node| node.1 = true);
            continue;
        }
        let expected: Vec<u32> =
            (plain.queue.len() == 50).then(|| plain.evict()).into_iter().collect();
        plain.queue.insert(0, (id, false));
        assert_eq!(shelf.admit(&mut policy, id, 1, at(step)), expected);
    }
}
