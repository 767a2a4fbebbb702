//! Which blobs go first. Two lists in the order of last use: what is *fresh*, and what was used *again*
//! some hours after it came. Of the two that lie idle longest in their lists the fresh one mostly goes:
//! caches and workspaces that one workflow used are rarely wanted tomorrow, what was wanted on another day
//! is. Chosen by simulation, `benches/policy`. Pure: it names victims and removes nothing.

const NONE: u32 = u32::MAX;
/// A second of idleness of the fresh counts for so many.
const FRESH_WEIGHT: u64 = 16;
/// What was used again and is idle for less than a night stays, while the fresh hold more than their part.
const GRACE_SECS: u64 = 12 * 3600;
/// What the fresh may hold in any case: one part of the budget in so many.
const FRESH_PART: u64 = 5;
/// A use so long after it came is not one of the workflow that brought it.
const SETTLE_SECS: u32 = 2 * 3600;

/// Places of a slab, in their lists. Times are seconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Queue {
    nodes: Vec<Node>,
    fresh: List,
    again: List,
}

/// What the policy knows of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    /// Bytes on the disk.
    pub(super) bytes: u64,
    pub(super) came_secs: u32,
    pub(super) used_secs: u32,
    pub(super) is_again: bool,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    newer: u32,
    older: u32,
    item: Item,
}

#[derive(Debug)]
struct List {
    newest: u32,
    oldest: u32,
    bytes: u64,
}

impl Default for List {
    fn default() -> Self {
        Self { newest: NONE, oldest: NONE, bytes: 0 }
    }
}

/// What becomes of a place that is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It cannot go now.
    Keep,
    /// It goes, and so should others.
    Take,
    /// It goes, and that is enough.
    Last,
}

impl Queue {
    /// Adds a place that is not queued, as the one used last in its list.
    pub(super) fn push(&mut self, place: u32, item: Item) {
        let at = place as usize;
        let list = if item.is_again { &mut self.again } else { &mut self.fresh };
        let node = Node { newer: NONE, older: list.newest, item };
        if at >= self.nodes.len() {
            self.nodes.resize(at + 1, node);
        }
        self.nodes[at] = node;
        match list.newest {
            NONE => list.oldest = place,
            before => self.nodes[before as usize].newer = place,
        }
        list.newest = place;
        list.bytes += item.bytes;
    }

    /// Takes a queued place out.
    pub(super) fn remove(&mut self, place: u32) -> Item {
        let Node { newer, older, item } = self.nodes[place as usize];
        let list = if item.is_again { &mut self.again } else { &mut self.fresh };
        match newer {
            NONE => list.newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
        match older {
            NONE => list.oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
        list.bytes -= item.bytes;
        item
    }

    /// Notes a use.
    pub(super) fn touch(&mut self, place: u32, now_secs: u32) {
        let item = self.remove(place);
        let is_settled = now_secs >= item.came_secs.saturating_add(SETTLE_SECS);
        let is_again = item.is_again || is_settled;
        self.push(place, Item { used_secs: now_secs, is_again, ..item });
    }

    pub(super) fn item(&self, place: u32) -> Item {
        self.nodes[place as usize].item
    }

    /// Offers each place at most once, those first that should go first, until `visit` has enough.
    pub(super) fn walk(&self, now_secs: u32, max_bytes: u64, mut visit: impl FnMut(u32) -> Step) {
        let (mut fresh, mut again) = (self.fresh.oldest, self.again.oldest);
        let mut fresh_bytes = self.fresh.bytes;
        while fresh != NONE || again != NONE {
            let is_crowded = fresh_bytes > max_bytes / FRESH_PART;
            let cursor = if self.is_fresh_next(fresh, again, now_secs, is_crowded) {
                &mut fresh
            } else {
                &mut again
            };
            let place = *cursor;
            let Node { newer, item, .. } = self.nodes[place as usize];
            *cursor = newer;
            let step = visit(place);
            if step != Step::Keep && !item.is_again {
                fresh_bytes -= item.bytes;
            }
            if step == Step::Last {
                return;
            }
        }
    }

    fn is_fresh_next(&self, fresh: u32, again: u32, now_secs: u32, is_crowded: bool) -> bool {
        if fresh == NONE || again == NONE {
            return again == NONE;
        }
        let idle_secs = |place: u32| u64::from(now_secs.saturating_sub(self.item(place).used_secs));
        let grace_secs = if is_crowded { GRACE_SECS } else { 0 };
        idle_secs(fresh) * FRESH_WEIGHT + grace_secs >= idle_secs(again)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u32 = 24 * 3600;

    fn fresh(secs: u32) -> Item {
        Item { bytes: 10, came_secs: secs, used_secs: secs, is_again: false }
    }

    fn take(queue: &mut Queue, now_secs: u32, count: usize) -> Vec<u32> {
        let mut taken = Vec::new();
        queue.walk(now_secs, 1000, |place| {
            taken.push(place);
            if taken.len() == count { Step::Last } else { Step::Take }
        });
        for place in &taken {
            queue.remove(*place);
        }
        taken
    }

    #[test]
    fn what_was_wanted_on_another_day_outlives_a_busy_night() {
        let mut queue = Queue::default();
        queue.push(0, fresh(0));
        queue.push(1, fresh(0));
        queue.touch(0, DAY);
        queue.touch(1, 60);
        for (place, secs) in (2..6).zip(DAY..) {
            queue.push(place, fresh(secs));
            queue.touch(place, secs + 1800);
        }
        let night = DAY + 6 * 3600;
        assert_eq!(take(&mut queue, night, 5), [1, 2, 3, 4, 5], "used within the workflow only");
        assert_eq!(take(&mut queue, night, 5), [0]);
    }

    #[test]
    fn what_is_idle_for_long_enough_goes_before_the_fresh() {
        let mut queue = Queue::default();
        queue.push(0, fresh(0));
        queue.touch(0, DAY);
        queue.push(1, fresh(30 * DAY));
        assert_eq!(take(&mut queue, 30 * DAY + 3600, 2), [0, 1]);
    }

    #[test]
    fn a_clock_that_jumps_back_breaks_nothing() {
        let mut queue = Queue::default();
        queue.push(0, fresh(30 * DAY));
        queue.touch(0, 5);
        queue.push(1, fresh(6));
        assert_eq!(take(&mut queue, 0, 2), [0, 1]);
    }

    #[test]
    fn what_is_kept_is_offered_once() {
        let mut queue = Queue::default();
        (0..3).for_each(|place| queue.push(place, fresh(place)));
        let mut offered = Vec::new();
        queue.walk(10, 1000, |place| {
            offered.push(place);
            Step::Keep
        });
        assert_eq!(offered, [0, 1, 2]);
    }

    proptest! {
        #[test]
        fn every_place_is_queued_exactly_once(steps in proptest::collection::vec((0..4_u8, 0..20_u32), 0..200)) {
            let mut queue = Queue::default();
            let mut model = std::collections::BTreeSet::new();
            for (now, (step, place)) in (0..).step_by(1800).zip(steps) {
                match step {
                    0 => if model.insert(place) { queue.push(place, fresh(now)) },
                    1 => if model.remove(&place) { queue.remove(place); },
                    2 => if model.contains(&place) { queue.touch(place, now) },
                    _ => for taken in take(&mut queue, now, place as usize % 3 + 1) {
                        prop_assert!(model.remove(&taken));
                    },
                }
                prop_assert_eq!(queue.fresh.bytes + queue.again.bytes, model.len() as u64 * 10);
            }
            let mut rest = take(&mut queue, 9, usize::MAX);
            rest.sort_unstable();
            prop_assert_eq!(rest, model.into_iter().collect::<Vec<_>>());
        }
    }
}
